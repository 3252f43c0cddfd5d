//! What the mesh is now: applies changes, publishes `MeshSnapshot`.
