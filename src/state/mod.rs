//! What is stored about a container.
