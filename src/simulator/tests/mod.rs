//! The simulator over a real socket.

mod control;
mod faults;
mod hosts;
mod rest;
mod tls;
mod token;
