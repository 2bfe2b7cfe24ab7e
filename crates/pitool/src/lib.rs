//! Sets up a Raspberry Pi, keeps it so, and can go back
