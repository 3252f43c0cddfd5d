//! The xDS conversation, both ends, state of the world and delta, knowing no resource type.
