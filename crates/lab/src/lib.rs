//! A cluster in a box, on real libvirtd and QEMU: for tests, demo, rehearsal.
