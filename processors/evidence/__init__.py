"""Evidence: why a finding was stated, as one sentence in two languages and as a chart drawn from what the rule saw."""
