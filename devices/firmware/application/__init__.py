"""The gateway application protocol, v1: how a gateway that runs is asked and configured over its serial console.

`frames`: bytes on a line that also carries log text. `messages`: what stands in a frame. `configuration`: the fields a
gateway keeps. `client`: the host's side. The protocol for a hardware maker: deploy/docs/gateways/protocol.md.
"""
