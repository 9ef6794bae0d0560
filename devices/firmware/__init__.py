"""Gateways on a serial line: which board is it, does the image fit, write, prove, provision.

From: an engineer's command line (`deploy.cli.gateway`). To: boards, through one file per bootloader in `drivers`.
Nothing here looks at a database or a broker; what is known of a board comes in, what happened goes to a journal port.
"""
