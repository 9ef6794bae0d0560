"""The console's pages and endpoints, one file each."""
