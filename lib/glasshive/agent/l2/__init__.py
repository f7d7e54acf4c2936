"""Feature "l2" of the agent: elects itself for services, and has the datapath answer for their addresses."""
