//! MuJoCo worlds behind the robot layer: tasks, vectorised stepping, rendering, and a byte-level servo-bus twin.
