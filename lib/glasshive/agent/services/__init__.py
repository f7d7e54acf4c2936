"""Feature "services" of the agent: objects in, a node's service tables out, and what people ask about them."""
