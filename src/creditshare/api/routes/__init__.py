"""One routes module per resource. A route is a typed signature, one service call, one response."""
