/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Does the link carry packets without tunnel? A datagram as a pod's would be goes to the gateway, from an egress
 * address and a leased port to a documentation address (RFC 5737, RFC 3849), and comes back as an answer from there
 * would. With one hop to live it goes nowhere else, and costs other packets no look. */
#pragma once
#include "probe.h"

#define LINK_PROBE_PORT 8474
#define LINK_PROBE_QUESTION 3
#define LINK_PROBE_ANSWER 4
#define LINK_PROBE_V4 0xc0000201	/* 192.0.2.1 */

static __always_inline bool link_probe_end(const struct addr *addr)
{
	if (is_v4(addr))
		return addr->words[3] == bpf_htonl(LINK_PROBE_V4);
	return addr->words[0] == bpf_htonl(0x20010db8) && addr->words[1] == 0 && addr->halves[1] == bpf_cpu_to_be64(1);
}

static __always_inline struct probe *read_link_probe(struct __sk_buff *skb, const struct packet *p, __u8 kind)
{
	struct probe *probe = bytes(skb, (p->l4 & 0xff) + sizeof(struct udphdr), sizeof(*probe));

	return probe && probe->magic == bpf_htonl(PROBE_MAGIC) && probe->kind == kind ? probe : NULL;
}

static __always_inline bool turn_frame(struct __sk_buff *skb)
{
	struct ethhdr *eth = bytes(skb, 0, sizeof(*eth));
	__u8 mac[ETH_ALEN];

	if (!eth)
		return false;
	memcpy(mac, eth->h_source, ETH_ALEN);
	memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	memcpy(eth->h_dest, mac, ETH_ALEN);
	return true;
}

/* The same sums hold with the ends exchanged. */
static __always_inline bool turn_addresses(struct __sk_buff *skb, const struct packet *p)
{
	if (p->family == 4) {
		struct iphdr *ip = bytes(skb, L3, sizeof(*ip));

		if (!ip)
			return false;
		ip->saddr = p->dst.words[3];
		ip->daddr = p->src.words[3];
	} else {
		struct ipv6hdr *ip = bytes(skb, L3, sizeof(*ip));

		if (!ip)
			return false;
		memcpy(&ip->saddr, &p->dst, 16);
		memcpy(&ip->daddr, &p->src, 16);
	}
	return true;
}

static __always_inline bool turn_ports(struct __sk_buff *skb, const struct packet *p)
{
	struct udphdr *udp = bytes(skb, p->l4 & 0xff, sizeof(*udp));

	if (!udp)
		return false;
	udp->source = p->dport;
	udp->dest = p->sport;
	return true;
}

/* A packet of a neighbour that leases its port, with no hop left. */
static __always_inline bool asks_about_link(const struct packet *p)
{
	return p->ttl <= 1 && p->kind == KIND_UDP && p->dport == bpf_htons(LINK_PROBE_PORT) && link_probe_end(&p->dst);
}

/* Such a question, if it is one. */
static __always_inline enum reason answer_link_probe(struct __sk_buff *skb, const struct packet *p,
						     const struct settings *settings)
{
	struct probe *probe;

	probe = read_link_probe(skb, p, LINK_PROBE_QUESTION);
	if (!probe || !same(&probe->target, &settings->underlay))
		return DROP_TTL;
	probe->kind = LINK_PROBE_ANSWER;
	if (!turn_frame(skb) || !turn_addresses(skb, p) || !turn_ports(skb, p) ||
	    bpf_l4_csum_replace(skb, (p->l4 & 0xff) + offsetof(struct udphdr, check), bpf_htons(LINK_PROBE_QUESTION << 8),
				bpf_htons(LINK_PROBE_ANSWER << 8), 2 | BPF_F_MARK_MANGLED_0))
		return DROP_KERNEL;
	return redirected(bpf_redirect(skb->ifindex, 0), ANSWERED_PROBE);
}

/* A packet to an egress address with no hop left: such an answer, or too old. It becomes a frame as the agent's
 * socket on the overlay device hears them, so that no socket has to look at what else the link brings. */
static __always_inline enum reason hear_link_answer(struct __sk_buff *skb, const struct packet *p,
						    const struct settings *settings)
{
	const struct node *node;
	struct probe *probe, answer;
	struct ethhdr *eth;

	if (skb->ifindex != settings->underlay_link || p->kind != KIND_UDP || p->sport != bpf_htons(LINK_PROBE_PORT) ||
	    !link_probe_end(&p->src))
		return DROP_TTL;
	probe = read_link_probe(skb, p, LINK_PROBE_ANSWER);
	if (!probe)
		return DROP_TTL;
	answer = *probe;
	node = bpf_map_lookup_elem(&nodes, &answer.target);
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth || !node || !node->on_link || __builtin_memcmp(eth->h_source, node->mac, ETH_ALEN))
		return DROP_FOREIGN_OUTER;
	eth->h_proto = bpf_htons(PROBE_ETHERTYPE);
	probe = bytes(skb, ETH_HLEN, sizeof(*probe));
	if (!probe)
		return DROP_MALFORMED;
	*probe = answer;
	if (!overlay_macs(skb, settings))
		return DROP_KERNEL;
	return redirected(bpf_redirect(settings->overlay_link, BPF_F_INGRESS), SENT_AGENT);
}
