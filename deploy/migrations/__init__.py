"""The operations database's revisions; `deploy.schema` runs them."""
