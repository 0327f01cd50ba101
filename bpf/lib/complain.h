/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Errors that Egret itself sends (RFC 792, RFC 4443): the packet becomes a message about itself, to its source. None
 * about an error, a later fragment, or to nobody in particular (RFC 1122 section 3.2.2). */
#pragma once
#include "flow.h"
#include "rewrite.h"
#include "verdict.h"

#define QUOTE 128		/* most bytes that are quoted; RFC 792 asks for the header and eight */
#define COMPLAINTS_PER_SECOND 1000	/* of one processor: RFC 1812 section 4.3.2.8 */

struct quote {
	__u8 bytes[QUOTE];
};

struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct quote); } quotes SEC(".maps");

struct error4 {
	struct iphdr ip;
	struct icmphdr icmp;
};

struct error6 {
	struct ipv6hdr ip;
	struct icmphdr icmp;
};

static __always_inline bool within_budget(void)
{
	__u32 zero = 0, now = now_seconds();
	struct budget *budget = bpf_map_lookup_elem(&complaints, &zero);

	if (!budget)
		return false;
	if (budget->second != now) {
		budget->second = now;
		budget->spent = 0;
	}
	return budget->spent++ < COMPLAINTS_PER_SECOND;
}

/* Redirects and source quenches are errors as well, though none that a NAT hands on. */
static __always_inline bool is_error(const struct packet *p)
{
	return p->kind == KIND_ICMP_ERROR ||
	       (p->kind == KIND_OTHER && (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6));
}

static __always_inline bool no_single_host(const struct addr *addr)
{
	__u8 first = is_v4(addr) ? addr->bytes[12] : addr->bytes[0];

	return is_v4(addr) ? first == 0 || first == 127 || first >= 224 : first == 0xff || (!addr->halves[0] && !addr->halves[1]);
}

/* Cuts the packet to what is quoted, and sums that up as it will be when the checksum in it is finished: a finished
 * sum makes what it covers add up to the negative of what the field held before. Negative: it cannot be quoted. */
static __always_inline __s64 cut_and_sum(struct __sk_buff *skb, const struct packet *p, __u32 *length)
{
	__u32 zero = 0, quoted = skb->len - L3, header = p->l4 - L3;
	struct quote *quote = bpf_map_lookup_elem(&quotes, &zero);
	__u16 field = 0;
	__s64 sum;
	bool partial;

	if (!quote || skb->len < L3)
		return -1;
	quoted &= ~3U;
	if (quoted > QUOTE)
		quoted = QUOTE;
	if (header > QUOTE - 8 || quoted < header + 8)
		return -1;
	partial = unfinished(skb, p, &field);
	if (bpf_skb_change_tail(skb, L3 + quoted, 0))
		return -1;
	*length = quoted;
	if (partial)
		quoted = header;
	if (quoted < 20 || quoted > QUOTE || bpf_skb_load_bytes(skb, L3, quote, quoted))
		return -1;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)quote, quoted, 0);
	if (sum < 0)
		return -1;
	return partial ? (__s64)fold(sum) + (__u16)~field : sum;
}

static __always_inline void fill_icmp(struct icmphdr *icmp, __u8 family, enum reason why, __u32 mtu)
{
	bool v4 = family == 4;

	switch (why) {
	case DROP_TTL:
		icmp->type = v4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEEDED;
		break;
	case DROP_TOO_BIG:	/* the MTU of IPv6 fills the word, and ours fit in its second half */
		icmp->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_TOO_BIG;
		icmp->code = v4 ? ICMP_FRAGMENTATION_NEEDED : 0;
		icmp->sequence = bpf_htons(mtu > 0xffff ? 0xffff : mtu);
		break;
	case DROP_NO_PORT:
		icmp->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
		icmp->code = v4 ? ICMP_PROHIBITED : ICMPV6_PROHIBITED;
		break;
	case DROP_PROTOCOL:
		icmp->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
		icmp->code = v4 ? ICMP_NO_PROTOCOL : ICMPV6_PROHIBITED;
		break;
	default:
		break;
	}
}

/* What a packet counts as when its sender has been told why it is dropped; GO_ON: that is nothing to tell. */
static __always_inline enum reason told(enum reason why)
{
	switch (why) {
	case DROP_TTL:
		return TOLD_TTL;
	case DROP_TOO_BIG:
		return TOLD_TOO_BIG;
	case DROP_NO_PORT:
		return TOLD_NO_PORT;
	case DROP_PROTOCOL:
		return TOLD_PROTOCOL;
	default:
		return GO_ON;
	}
}

static __always_inline bool put_v4(struct __sk_buff *skb, const struct packet *p, const struct addr *from, enum reason why,
				   __u32 mtu, __u32 length, __u32 sum)
{
	struct error4 error = {
		.ip = {
			.version = 4, .ihl = 5, .tos = 0xc0, .ttl = 64, .protocol = IPPROTO_ICMP,
			.tot_len = bpf_htons(sizeof(error) + length),
			.saddr = from->words[3], .daddr = p->src.words[3],
		},
	};

	fill_icmp(&error.icmp, 4, why, mtu);
	error.icmp.checksum = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&error.icmp, sizeof(error.icmp), sum));
	error.ip.check = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&error.ip, sizeof(error.ip), 0));
	return !bpf_skb_adjust_room(skb, sizeof(error), BPF_ADJ_ROOM_MAC, 0) &&
	       !bpf_skb_store_bytes(skb, L3, &error, sizeof(error), 0);
}

static __always_inline bool put_v6(struct __sk_buff *skb, const struct packet *p, const struct addr *from, enum reason why,
				   __u32 mtu, __u32 length, __u32 sum)
{
	struct error6 error = {
		.ip = { .version = 6, .hop_limit = 64, .nexthdr = IPPROTO_ICMPV6 },
	};
	__be32 pseudo[2] = { bpf_htonl(sizeof(error.icmp) + length), bpf_htonl(IPPROTO_ICMPV6) };

	error.ip.payload_len = bpf_htons(sizeof(error.icmp) + length);
	memcpy(&error.ip.saddr, from, 16);
	memcpy(&error.ip.daddr, &p->src, 16);
	fill_icmp(&error.icmp, 6, why, mtu);
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&error.ip.saddr, 32, sum);
	error.icmp.checksum = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&error.icmp, sizeof(error.icmp), sum));
	return !bpf_skb_adjust_room(skb, sizeof(error), BPF_ADJ_ROOM_MAC, 0) &&
	       !bpf_skb_store_bytes(skb, L3, &error, sizeof(error), 0);
}

/* Makes the packet an error about itself, from this node to its source. 0: nothing may be said; drop it. */
__noinline int complain(struct __sk_buff *skb, const struct packet *p, enum reason why, __u32 mtu)
{
	const struct settings *settings = node_settings();
	const struct addr *from;
	__u32 length = 0;
	__s64 sum;

	if (!p || !settings)
		return 0;
	from = p->family == 4 ? &settings->hop4 : &settings->hop6;
	if ((!from->halves[0] && !from->halves[1]) || p->piece == LATER_FRAGMENT || is_error(p) ||
	    no_single_host(&p->src) || no_single_host(&p->dst) || !within_budget())
		return 0;
	sum = cut_and_sum(skb, p, &length);
	if (sum < 0)
		return 0;
	return p->family == 4 ? put_v4(skb, p, from, why, mtu, length, sum) : put_v6(skb, p, from, why, mtu, length, sum);
}
