/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* ICMP errors carry the beginning of the packet they complain about. Whose they are is read from there, and the
 * same change is made there (RFC 5508 section 4). At least eight bytes of the transport header are quoted. */
#pragma once
#include "flow.h"
#include "rewrite.h"

#define QUOTED_TRANSPORT 8

/* The quoted packet: addresses, ports and kind; no more of its transport header is promised. */
__noinline int read_quoted(struct __sk_buff *skb, const struct packet *p, struct packet *quoted)
{
	enum reason reason;
	__be16 *ports;
	__u32 at;

	if (!p || !quoted)
		return DROP_KERNEL;
	at = p->l4 + sizeof(struct icmphdr);
	reason = p->family == 4 ? read_v4(skb, quoted, at) : read_v6(skb, quoted, at);
	if (reason != GO_ON)
		return DROP_MALFORMED;
	if (quoted->piece == LATER_FRAGMENT)
		return DROP_ICMP_UNMATCHED;
	ports = bytes(skb, quoted->l4, QUOTED_TRANSPORT);
	if (!ports)
		return DROP_MALFORMED;
	switch (quoted->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		quoted->kind = quoted->protocol == IPPROTO_TCP ? KIND_TCP : KIND_UDP;
		quoted->sport = ports[0];
		quoted->dport = ports[1];
		return GO_ON;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		quoted->kind = icmp_kind(quoted, *(__u8 *)ports);
		if (quoted->kind == KIND_ECHO_REQUEST)
			quoted->sport = ports[2];
		else if (quoted->kind == KIND_ECHO_REPLY)
			quoted->dport = ports[2];
		else
			return DROP_ICMP_UNMATCHED;
		return GO_ON;
	}
	return DROP_ICMP_UNMATCHED;
}

static __always_inline __u32 quoted_port_offset(const struct packet *quoted, enum side side)
{
	if (quoted->kind == KIND_ECHO_REQUEST || quoted->kind == KIND_ECHO_REPLY)
		return quoted->l4 + offsetof(struct icmphdr, id);
	return quoted->l4 + (side == SOURCE ? 0 : 2);
}

/* The error's own checksum after something in the message changed. It is always whole, so the kernel must not be asked:
 * to it the packet may be one whose transport checksum, the quoted one, is still to be finished. */
static __always_inline bool adjust_sum(struct __sk_buff *skb, const struct packet *p, __u32 difference)
{
	struct icmphdr *icmp = bytes(skb, p->l4 & 0xff, sizeof(*icmp));

	if (!icmp)
		return false;
	icmp->checksum = ~fold((__u16)~icmp->checksum + fold(difference));
	return true;
}

/* In the quoted IPv4 header the address and the checksum change by opposite amounts, so the error's own
 * checksum stays right; the quoted port, and the address of IPv6, are accounted for. The quoted transport checksum
 * is left: it may be cut off, and nobody verifies it. */
static __always_inline bool rewrite_quoted(struct __sk_buff *skb, const struct packet *p, const struct packet *quoted,
					   enum side side, const struct addr *addr, __be16 port)
{
	__u32 at = p->l4 + sizeof(struct icmphdr);
	__be16 from_port = side == SOURCE ? quoted->sport : quoted->dport;
	const struct addr *from = side == SOURCE ? &quoted->src : &quoted->dst;

	if (p->family == 4) {
		struct iphdr *ip = bytes(skb, at, sizeof(*ip));

		if (!ip)
			return false;
		if (side == SOURCE)
			ip->saddr = addr->words[3];
		else
			ip->daddr = addr->words[3];
		ip->check = checksum_word(ip->check, from->words[3], addr->words[3]);
	} else {
		struct ipv6hdr *ip = bytes(skb, at, sizeof(*ip));
		if (!ip)
			return false;
		if (side == SOURCE)
			memcpy(&ip->saddr, addr, 16);
		else
			memcpy(&ip->daddr, addr, 16);
		if (!adjust_sum(skb, p, bpf_csum_diff((__be32 *)from, 16, (__be32 *)addr, 16, 0)))
			return false;
	}
	return !bpf_skb_store_bytes(skb, quoted_port_offset(quoted, side), &port, sizeof(port), 0) &&
	       adjust_sum(skb, p, port + (__u16)~from_port);
}

/* The error's own address, which has no port. */
static __always_inline bool rewrite_error(struct __sk_buff *skb, const struct packet *p, enum side side, const struct addr *addr)
{
	const struct addr *from = side == SOURCE ? &p->src : &p->dst;

	if (!rewrite_address(skb, p, side, addr))
		return false;
	return p->family == 4 || adjust_sum(skb, p, bpf_csum_diff((__be32 *)from, 16, (__be32 *)addr, 16, 0));
}
