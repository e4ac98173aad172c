"""Lightning's Trainer with the epochs in Rust: reads the user's own module, optimizer and data, and trains them in place."""
