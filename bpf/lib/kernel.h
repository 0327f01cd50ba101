/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The few kernel types the programs use; user-space headers of the kernel and libbpf give the rest. */
#pragma once
#include <stddef.h>
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif
#ifndef memcpy
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#endif
