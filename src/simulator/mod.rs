//! A strict stand-in for Salesforce. It shares no code with the broker: if it did, one mistake would hide itself.
