//! A cluster in network namespaces
