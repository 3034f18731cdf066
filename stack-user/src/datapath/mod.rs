//! AF_XDP: UMEM, rings, sockets and the worker that turns them.
