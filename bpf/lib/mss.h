/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A SYN must not promise more than the overlay carries (RFC 6691, RFC 4459 section 3.2). */
#pragma once
#include "rewrite.h"
#include "tcp.h"

static __always_inline __u16 largest_segment(const struct packet *p, const struct settings *settings)
{
	return settings->overlay_mtu - (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) - sizeof(struct tcphdr);
}

/* The checksum counts words of 16 bits, so the change is made on the words that the value touches. All four bytes
 * are the header's own: the option may be the last thing in the packet. */
static __always_inline void lower(struct __sk_buff *skb, const struct packet *p, __u32 value_at, __u16 most)
{
	bool odd = (value_at - p->l4) & 1;
	__u32 at = value_at - (odd ? 1 : 2);
	__u8 from[4], to[4];
	__u16 mss;

	if (bpf_skb_load_bytes(skb, at, from, 4))
		return;
	mss = odd ? (from[1] << 8 | from[2]) : (from[2] << 8 | from[3]);
	if (mss <= most)
		return;
	memcpy(to, from, 4);
	if (odd) {
		to[1] = most >> 8;
		to[2] = most & 0xff;
	} else {
		to[2] = most >> 8;
		to[3] = most & 0xff;
	}
	if (bpf_skb_store_bytes(skb, at, to, 4, 0))
		return;
	bpf_l4_csum_replace(skb, checksum_offset(p), *(__be32 *)from, *(__be32 *)to, 4);
}

static __noinline void clamp_syn(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	__u32 at = tcp_option(skb, p, OPTION_MSS, 4);

	if (at)
		lower(skb, p, at + 2, largest_segment(p, settings));
}

static __always_inline void clamp_mss(struct __sk_buff *skb, const struct packet *p, const struct settings *settings)
{
	if (p->kind == KIND_TCP && (p->tcp_flags & TCP_SYN))
		clamp_syn(skb, p, settings);
}
