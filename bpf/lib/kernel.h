/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The few kernel types the programs use; user-space headers of the kernel and libbpf give the rest. */
#pragma once
#include <stddef.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* RFC 792 and RFC 4443; the kernel's own headers of these bring libc along */
struct icmphdr {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 id;		/* of an echo */
	__be16 sequence;	/* of an echo; the next hop's MTU in "fragmentation needed" */
};

#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_NO_PROTOCOL 2
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMP_PROHIBITED 13
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_TOO_BIG 2
#define ICMPV6_TIME_EXCEEDED 3
#define ICMPV6_PROHIBITED 1
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif
/* Two kinds of functions are not inlined. A `static __noinline` one has a stack of its own, and is verified anew for each call.
 * A `__noinline` one that is not static is verified once, by itself: it knows nothing of what its callers have checked, so it
 * asks of each pointer whether it is NULL, and returns an int. */
#ifndef memcpy
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#endif
