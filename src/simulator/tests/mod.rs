//! The simulator over a real socket.

mod control;
mod rest;
mod token;
