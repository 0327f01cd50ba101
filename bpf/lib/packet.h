/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Reading a packet: addresses first, for decisions that need no more, then ports. Nothing is trusted before it
 * is checked against the packet's end. */
#pragma once
#include "maps.h"

#define L3 ETH_HLEN
#define HEADERS 256		/* no header that is read or written begins or ends beyond this offset */

enum kind { KIND_TCP, KIND_UDP, KIND_ECHO_REQUEST, KIND_ECHO_REPLY, KIND_ICMP_ERROR, KIND_FRAGMENT, KIND_OTHER };

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define TCP_FLAGS 0x3f		/* without those of congestion: RFC 3168 */

enum piece { WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT };

struct packet {
	struct addr src;
	struct addr dst;
	__u32 l4;		/* offset of the transport header */
	__be16 sport;		/* an echo request's id is its source port, */
	__be16 dport;		/* an echo reply's id its destination port */
	__u8 family;		/* 4 or 6 */
	__u8 protocol;
	__u8 ttl;
	__u8 kind;
	__u8 piece;
	__u8 dont_fragment;	/* always, for IPv6: RFC 8200 section 4.5 */
	__u8 tcp_flags;
	__u8 header;		/* length of a TCP or UDP header */
	__be32 id;		/* of a datagram in pieces */
	__u32 seq;		/* TCP, host order */
	__u32 ack;
};

static __always_inline void map_v4(struct addr *addr, __be32 v4)
{
	addr->words[0] = 0;
	addr->words[1] = 0;
	addr->words[2] = bpf_htonl(0xffff);
	addr->words[3] = v4;
}

static __always_inline bool is_v4(const struct addr *addr)
{
	return addr->halves[0] == 0 && addr->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool same(const struct addr *a, const struct addr *b)
{
	return a->halves[0] == b->halves[0] && a->halves[1] == b->halves[1];
}

/* The check holds only for the very pointer that was compared: the compiler must not compute it anew. */
#define keep(pointer) asm volatile("" : "+r"(pointer))

static __always_inline void *linear(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *at;

	keep(skb);	/* nor may it keep the address of a field: the verifier wants offsets from the context */
	at = (void *)(long)skb->data + offset;
	keep(at);
	return at + size <= (void *)(long)skb->data_end ? at : NULL;
}

/* Bytes of the packet in linear memory; NULL if it has fewer. */
static __always_inline void *bytes(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *at;

	if (offset > HEADERS)
		return NULL;
	at = linear(skb, offset, size);
	if (at)
		return at;
	if (offset + size > skb->len || bpf_skb_pull_data(skb, offset + size))
		return NULL;
	return linear(skb, offset, size);
}

static __always_inline enum reason read_v4(struct __sk_buff *skb, struct packet *p, __u32 at)
{
	struct iphdr *ip = bytes(skb, at, sizeof(*ip));

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return DROP_MALFORMED;
	p->family = 4;
	map_v4(&p->src, ip->saddr);
	map_v4(&p->dst, ip->daddr);
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	p->dont_fragment = (ip->frag_off & bpf_htons(0x4000)) != 0;
	if (ip->frag_off & bpf_htons(0x1fff))
		p->piece = LATER_FRAGMENT;
	else if (ip->frag_off & bpf_htons(0x2000))
		p->piece = FIRST_FRAGMENT;
	p->id = ip->id;
	p->l4 = at + ip->ihl * 4;
	return GO_ON;
}

/* Extension headers that a transport header may stand behind: RFC 8200 section 4.1. */
#define EXTENSIONS 5

struct fragment_header {	/* RFC 8200 section 4.5 */
	__u8 next;
	__u8 reserved;
	__be16 place;		/* offset, and whether more follow */
	__be32 id;
};

static __always_inline void read_fragment_header(struct packet *p, const struct fragment_header *header)
{
	if (header->place & bpf_htons(0xfff8))
		p->piece = LATER_FRAGMENT;
	else if (header->place & bpf_htons(0x0001))
		p->piece = FIRST_FRAGMENT;
	p->id = header->id;
}

static __always_inline bool is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT;
}

/* Steps over extension headers, the first of which is at p->l4. Returns what comes after them; negative: malformed. */
__noinline int skip_extensions(struct __sk_buff *skb, struct packet *p, __u32 first)
{
	__u8 next = first;

	if (!p)
		return -1;
	for (int i = 0; i < EXTENSIONS && is_extension(next); i++) {
		__u8 *extension = bytes(skb, p->l4, sizeof(struct fragment_header));

		if (!extension)
			return -1;
		if (next == IPPROTO_FRAGMENT) {
			read_fragment_header(p, (struct fragment_header *)extension);
			p->l4 += sizeof(struct fragment_header);
		} else {
			p->l4 += (extension[1] + 1) * 8;
		}
		next = extension[0];
		if (p->piece == LATER_FRAGMENT)
			break;
		if (p->l4 > HEADERS)
			return -1;
	}
	return next;
}

static __always_inline enum reason read_v6(struct __sk_buff *skb, struct packet *p, __u32 at)
{
	struct ipv6hdr *ip = bytes(skb, at, sizeof(*ip));
	int protocol;

	if (!ip || ip->version != 6)
		return DROP_MALFORMED;
	p->family = 6;
	memcpy(&p->src, &ip->saddr, 16);
	memcpy(&p->dst, &ip->daddr, 16);
	p->dont_fragment = 1;
	p->ttl = ip->hop_limit;
	protocol = ip->nexthdr;
	p->l4 = at + sizeof(*ip);
	if (is_extension(protocol)) {
		protocol = skip_extensions(skb, p, protocol);
		if (protocol < 0)
			return DROP_MALFORMED;
	}
	p->protocol = protocol;
	return GO_ON;
}

/* Addresses and protocol of an IP packet; PASS_NOT_IP for all others. GO_ON when it was read. */
static __always_inline enum reason read_addresses(struct __sk_buff *skb, struct packet *p)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return read_v4(skb, p, L3);
	case bpf_htons(ETH_P_IPV6):
		return read_v6(skb, p, L3);
	default:
		return PASS_NOT_IP;
	}
}

static __always_inline enum kind icmp_kind(const struct packet *p, __u8 type)
{
	if (p->family == 4) {
		switch (type) {
		case ICMP_ECHO:
			return KIND_ECHO_REQUEST;
		case ICMP_ECHOREPLY:
			return KIND_ECHO_REPLY;
		case ICMP_DEST_UNREACH:
		case ICMP_TIME_EXCEEDED:
		case ICMP_PARAMETERPROB:
			return KIND_ICMP_ERROR;
		}
		return KIND_OTHER;
	}
	switch (type) {
	case ICMPV6_ECHO_REQUEST:
		return KIND_ECHO_REQUEST;
	case ICMPV6_ECHO_REPLY:
		return KIND_ECHO_REPLY;
	}
	return type < 128 ? KIND_ICMP_ERROR : KIND_OTHER;
}

static __always_inline enum reason read_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmphdr *icmp = bytes(skb, p->l4, sizeof(*icmp));

	if (!icmp)
		return DROP_MALFORMED;
	p->kind = icmp_kind(p, icmp->type);
	if (p->kind == KIND_ECHO_REQUEST)
		p->sport = icmp->id;
	else if (p->kind == KIND_ECHO_REPLY)
		p->dport = icmp->id;
	return GO_ON;
}

/* Ports, after the addresses. GO_ON when it was read. */
static __always_inline enum reason read_ports(struct __sk_buff *skb, struct packet *p)
{
	if (p->piece == LATER_FRAGMENT) {
		p->kind = KIND_FRAGMENT;
		return GO_ON;
	}
	switch (p->protocol) {
	case IPPROTO_TCP: {
		struct tcphdr *tcp = bytes(skb, p->l4, sizeof(*tcp));

		if (!tcp || tcp->doff < 5)
			return DROP_MALFORMED;
		p->kind = KIND_TCP;
		p->sport = tcp->source;
		p->dport = tcp->dest;
		p->tcp_flags = ((__u8 *)tcp)[13] & TCP_FLAGS;
		p->header = tcp->doff * 4;
		p->seq = bpf_ntohl(tcp->seq);
		p->ack = bpf_ntohl(tcp->ack_seq);
		return GO_ON;
	}
	case IPPROTO_UDP: {
		struct udphdr *udp = bytes(skb, p->l4, sizeof(*udp));

		if (!udp)
			return DROP_MALFORMED;
		p->kind = KIND_UDP;
		p->header = sizeof(*udp);
		p->sport = udp->source;
		p->dport = udp->dest;
		return GO_ON;
	}
	case IPPROTO_ICMP:
		if (p->family == 4)
			return read_icmp(skb, p);
		break;
	case IPPROTO_ICMPV6:
		if (p->family == 6)
			return read_icmp(skb, p);
		break;
	}
	p->kind = KIND_OTHER;
	return GO_ON;
}

static __always_inline bool has_ports(const struct packet *p)
{
	return p->kind <= KIND_ECHO_REPLY;
}
