"""What an engineer does with gateways, put together: drivers, keys, the journal, many boards at once.

From: `undercity gateway ...`. To: `devices.firmware`, the operations database, and processes of our own.
"""
