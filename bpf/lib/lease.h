/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Whose a port of an egress address is: who may send from it, and who gets what comes to it. */
#pragma once
#include "carried.h"

/* The node that leases this port; NULL if nobody does. */
static __always_inline const struct addr *leaseholder(const struct addr *egress, const struct served *served, __be16 port)
{
	struct lease_key key = { .egress = *egress, .block = bpf_ntohs(port) >> (served->shift & 15) };

	return bpf_map_lookup_elem(&leases, &key);
}

/* The egress port of a packet: the source port of what leaves (SOURCE), the destination port of what comes back. Of an
 * error, the one in the packet that it is about. */
static __always_inline enum reason egress_port(struct __sk_buff *skb, const struct packet *p, enum side side, __be16 *port)
{
	bool leaves = side == SOURCE;
	struct packet quoted = {};

	switch (p->kind) {
	case KIND_ECHO_REQUEST:
	case KIND_ECHO_REPLY:
		if (leaves != (p->kind == KIND_ECHO_REQUEST))
			break;
		/* fallthrough */
	case KIND_TCP:
	case KIND_UDP:
		*port = leaves ? p->sport : p->dport;
		return GO_ON;
	case KIND_ICMP_ERROR:
		if (read_quoted(skb, p, &quoted) != GO_ON ||
		    !same(leaves ? &quoted.dst : &quoted.src, leaves ? &p->src : &p->dst))
			return DROP_ICMP_UNMATCHED;
		*port = leaves ? quoted.dport : quoted.sport;
		return GO_ON;
	}
	return leaves ? DROP_FOREIGN_INNER : PASS_NOT_LEASED;
}

/* Who sends this as its own: GO_ON when `owner` leases the port that the packet leaves by. */
static __always_inline enum reason sender_of(struct __sk_buff *skb, const struct packet *p, const struct served *served_entry,
					     struct addr *owner)
{
	const struct fragment *found;
	const struct addr *holder;
	enum reason reason;
	__be16 port;

	if (p->kind == KIND_FRAGMENT) {
		found = recall(p, FRAGMENT_TO_WIRE);
		if (!found)
			return DROP_FRAGMENT;
		*owner = found->to;
		return GO_ON;
	}
	reason = egress_port(skb, p, SOURCE, &port);
	if (reason != GO_ON)
		return reason;
	holder = leaseholder(&p->src, served_entry, port);
	if (!holder)
		return DROP_NOT_LEASED;
	*owner = *holder;
	return GO_ON;
}

/* Whose this is: GO_ON when `owner` leases the port that the packet comes back to. */
static __always_inline enum reason receiver_of(struct __sk_buff *skb, const struct packet *p, const struct served *served_entry,
					       struct addr *owner)
{
	const struct fragment *found;
	const struct addr *holder;
	enum reason reason;
	__be16 port;

	if (p->kind == KIND_FRAGMENT) {
		found = recall(p, FRAGMENT_OF_WIRE);
		if (!found)
			return served_entry->node_address ? PASS_NOT_LEASED : DROP_FRAGMENT;
		if (found->passed)
			return PASS_NOT_LEASED;
		*owner = found->to;
		return GO_ON;
	}
	if (served_entry->node_address) {
		reason = receiver_at_node(skb, p, owner);
		remember(p, FRAGMENT_OF_WIRE, reason == GO_ON ? owner : NULL, p->id, reason == GO_ON ? 0 : reason);
		return reason;
	}
	reason = egress_port(skb, p, DESTINATION, &port);
	if (reason == GO_ON) {
		holder = leaseholder(&p->dst, served_entry, port);
		if (holder) {
			*owner = *holder;
			remember(p, FRAGMENT_OF_WIRE, owner, p->id, 0);
			return GO_ON;
		}
		reason = PASS_NOT_LEASED;
	}
	if (reason == PASS_NOT_LEASED)
		remember(p, FRAGMENT_OF_WIRE, NULL, 0, reason);
	return reason;
}
