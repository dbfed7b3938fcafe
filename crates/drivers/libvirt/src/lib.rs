//! Driver for libvirt: an own asynchronous client of its RPC protocol.
