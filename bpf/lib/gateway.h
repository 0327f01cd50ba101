/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A gateway: who may send as an egress address, and whose its answers are. Nothing here is remembered. */
#pragma once
#include "inbound.h"
#include "overlay.h"
#include "wire.h"

/* The node that leases this port; NULL if nobody does. */
static __always_inline const struct addr *leaseholder(const struct addr *egress, const struct served *served, __be16 port)
{
	struct lease_key key = { .egress = *egress, .block = bpf_ntohs(port) >> (served->shift & 15) };

	return bpf_map_lookup_elem(&leases, &key);
}

static __always_inline bool ours(const struct packet *p)
{
	return p->kind == KIND_TCP || p->kind == KIND_UDP || p->kind == KIND_ECHO_REQUEST;
}

/* From a source node to the outside. */
static __always_inline enum reason forward_out(struct __sk_buff *skb, const struct packet *p, const struct addr *node)
{
	const struct served *served_entry = bpf_map_lookup_elem(&served, &p->src);
	const struct addr *owner;

	if (!served_entry)
		return DROP_NOT_SERVED;
	if (!ours(p))
		return DROP_FOREIGN_INNER;
	owner = leaseholder(&p->src, served_entry, p->sport);
	if (!owner || !same(owner, node))
		return DROP_NOT_LEASED;
	if (p->ttl <= 1)
		return DROP_TTL;
	if (!age(skb, p))
		return DROP_KERNEL;
	return to_wire(skb, p, &p->src, served_entry->wire);
}

/* From the outside to an egress address. */
static __always_inline enum reason steer_back(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					      const struct served *served_entry)
{
	const struct addr *owner;
	const struct node *node;
	struct addr to;

	if (p->kind == KIND_FRAGMENT)
		return DROP_FRAGMENT;
	if (p->kind == KIND_ICMP_ERROR)
		return DROP_ICMP_UNMATCHED;
	if (!has_ports(p) || p->kind == KIND_ECHO_REQUEST)
		return DROP_NO_LEASE;
	owner = leaseholder(&p->dst, served_entry, p->dport);
	if (!owner)
		return DROP_NO_LEASE;
	to = *owner;
	if (same(&to, &settings->underlay))
		return to_pod_of_flow(skb, p, settings);
	if (p->ttl <= 1)
		return DROP_TTL;
	if (!age(skb, p))
		return DROP_KERNEL;
	node = bpf_map_lookup_elem(&nodes, &to);
	if (node && node->on_link)
		return to_neighbour(&to, settings->underlay_link, SENT_NODE_LINK);
	return to_node(skb, settings, &to, VNI_TO_POD, SENT_NODE);
}
