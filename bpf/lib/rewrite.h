/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Changing a packet in place, with every checksum that covers the change. The transport checksum goes through
 * the kernel's call, because only the kernel knows whether the field holds a whole or a partial sum. */
#pragma once
#include "packet.h"

enum side { SOURCE, DESTINATION };

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1624: the checksum after a 32-bit word of the header changed. */
static __always_inline __u16 checksum_word(__u16 checksum, __be32 from, __be32 to)
{
	__u32 sum = (__u16)~checksum;

	sum += (__u16)~(from & 0xffff);
	sum += (__u16)~(from >> 16);
	sum += to & 0xffff;
	sum += to >> 16;
	return ~fold(sum);
}

static __always_inline __u32 checksum_offset(const struct packet *p)
{
	switch (p->kind) {
	case KIND_TCP:
		return p->l4 + offsetof(struct tcphdr, check);
	case KIND_UDP:
		return p->l4 + offsetof(struct udphdr, check);
	}
	return p->l4 + offsetof(struct icmphdr, checksum);
}

/* Does the kernel or the device still have to finish the transport checksum? Only such a field does not follow a
 * change (net/core/utils.c, inet_proto_csum_replace4). */
static __always_inline bool unfinished(struct __sk_buff *skb, const struct packet *p, __u16 *field)
{
	__u32 at = checksum_offset(p);
	__u16 after;

	if (p->kind != KIND_TCP && p->kind != KIND_UDP)
		return false;
	if (bpf_skb_load_bytes(skb, at, field, 2) || bpf_l4_csum_replace(skb, at, 0, bpf_htons(1), 2) ||
	    bpf_skb_load_bytes(skb, at, &after, 2))
		return false;
	if (after == *field)
		return true;
	bpf_skb_store_bytes(skb, at, field, 2, 0);
	return false;
}

static __always_inline bool rewrite_port(struct __sk_buff *skb, const struct packet *p, enum side side, __be16 to)
{
	__u64 keep_zero = p->kind == KIND_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 offset = side == SOURCE ? 0 : 2;
	__be16 from = side == SOURCE ? p->sport : p->dport;
	__be16 *port;

	if (p->kind == KIND_ECHO_REQUEST || p->kind == KIND_ECHO_REPLY)
		offset = offsetof(struct icmphdr, id);
	port = bytes(skb, (p->l4 & 0xff) + offset, 2);
	if (!port)
		return false;
	*port = to;
	return !bpf_l4_csum_replace(skb, checksum_offset(p), from, to, 2 | keep_zero);
}

static __always_inline bool rewrite_v4(struct __sk_buff *skb, const struct packet *p, enum side side, __be32 to)
{
	__u64 keep_zero = p->kind == KIND_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
	__be32 from;

	if (!ip)
		return false;
	if (side == SOURCE) {
		from = ip->saddr;
		ip->saddr = to;
	} else {
		from = ip->daddr;
		ip->daddr = to;
	}
	ip->check = checksum_word(ip->check, from, to);
	if (p->protocol == IPPROTO_ICMP)	/* no pseudo header: RFC 792 */
		return true;
	return !bpf_l4_csum_replace(skb, checksum_offset(p), from, to, 4 | BPF_F_PSEUDO_HDR | keep_zero);
}

static __always_inline bool rewrite_v6(struct __sk_buff *skb, const struct packet *p, enum side side, const struct addr *to)
{
	__u64 keep_zero = p->kind == KIND_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	struct ipv6hdr *ip = bytes(skb, L3, sizeof(*ip));
	struct addr from;
	__s64 difference;

	if (!ip)
		return false;
	if (side == SOURCE) {
		memcpy(&from, &ip->saddr, 16);
		memcpy(&ip->saddr, to, 16);
	} else {
		memcpy(&from, &ip->daddr, 16);
		memcpy(&ip->daddr, to, 16);
	}
	difference = bpf_csum_diff((__be32 *)&from, 16, (__be32 *)to, 16, 0);
	/* a sum that is zero before the port is changed must not read as "no checksum" then */
	return !bpf_l4_csum_replace(skb, checksum_offset(p), 0, difference, BPF_F_PSEUDO_HDR | keep_zero);
}

/* Another address and port on one side of the packet. */
static __always_inline bool rewrite(struct __sk_buff *skb, const struct packet *p, enum side side,
				    const struct addr *addr, __be16 port)
{
	bool done = p->family == 4 ? rewrite_v4(skb, p, side, addr->words[3]) : rewrite_v6(skb, p, side, addr);

	return done && rewrite_port(skb, p, side, port);
}

/* A later fragment has no ports, and its datagram's checksum is in the first. */
static __always_inline bool rewrite_address(struct __sk_buff *skb, const struct packet *p, enum side side, const struct addr *to)
{
	if (p->family == 4) {
		struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
		__be32 from = side == SOURCE ? p->src.words[3] : p->dst.words[3];

		if (!ip)
			return false;
		if (side == SOURCE)
			ip->saddr = to->words[3];
		else
			ip->daddr = to->words[3];
		ip->check = checksum_word(ip->check, from, to->words[3]);
	} else {
		struct ipv6hdr *ip = bytes(skb, L3, sizeof(*ip));

		if (!ip)
			return false;
		if (side == SOURCE)
			memcpy(&ip->saddr, to, 16);
		else
			memcpy(&ip->daddr, to, 16);
	}
	return true;
}

/* Another number for a datagram of IPv4. */
static __always_inline bool renumber(struct __sk_buff *skb, const struct packet *p, __be32 id)
{
	struct iphdr *ip;

	if (id == p->id)
		return true;
	ip = bytes(skb, L3, sizeof(*ip));
	if (!ip)
		return false;
	ip->check = checksum_word(ip->check, p->id, id);
	ip->id = id;
	return true;
}

/* One hop less to live. The caller has seen that it is more than one. */
static __always_inline bool age(struct __sk_buff *skb, const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
		__u32 sum;

		if (!ip)
			return false;
		sum = ip->check + bpf_htons(0x0100);
		ip->check = sum + (sum >= 0xffff);
		ip->ttl--;
	} else {
		struct ipv6hdr *ip = bytes(skb, L3, sizeof(*ip));

		if (!ip)
			return false;
		ip->hop_limit--;
	}
	return true;
}

static __always_inline bool set_macs(struct __sk_buff *skb, const __u8 *to, const __u8 *from)
{
	struct ethhdr *eth = bytes(skb, 0, sizeof(*eth));

	if (!eth)
		return false;
	memcpy(eth->h_dest, to, ETH_ALEN);
	memcpy(eth->h_source, from, ETH_ALEN);
	return true;
}
