"""Our SenML codec against an independent encoder from PyPI."""

from __future__ import annotations

import json

from senml import SenMLDocument, SenMLMeasurement

from devices.codecs import Context
from devices.codecs.senml import CODEC


def test_a_pack_of_an_independent_encoder_decodes_to_what_it_was_given() -> None:
    base = SenMLMeasurement(name="WP-0412:", time=1_790_000_000, unit="kPa", value=400)
    pack = SenMLDocument(
        [
            SenMLMeasurement(name="pressure", value=12.5),
            SenMLMeasurement(name="temperature", unit="Cel", value=-385.5),
        ],
        base=base,
    )
    (sample,) = CODEC.decode(json.dumps(pack.to_json()).encode(), Context())
    assert (sample.device, sample.time_us) == ("WP-0412", 1_790_000_000_000_000)
    assert sample.values == {"pressure": 412.5, "temperature": 14.5}
    assert sample.units == {"pressure": "kPa", "temperature": "degC"}
