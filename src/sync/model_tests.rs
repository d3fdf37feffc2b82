//! Model checks of the state that is ours.
