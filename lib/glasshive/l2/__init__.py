"""L2 announcements: which node answers for a service's address on its network. Pure; the agent carries it out."""
