//! The only I/O to the kernel: programs, maps, links, guard, probes, announcements
