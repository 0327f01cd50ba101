/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A gateway: from source nodes to the outside, and back. Nothing is remembered but which node the pieces of a datagram
 * belong to, for as long as it takes to put them together. */
#pragma once
#include "complain.h"
#include "inbound.h"
#include "lease.h"
#include "overlay.h"
#include "wire.h"

/* To a source node, the way that it can be reached best. */
static __always_inline enum reason back_to_node(struct __sk_buff *skb, const struct settings *settings, const struct addr *to)
{
	const struct node *node = bpf_map_lookup_elem(&nodes, to);

	if (node && node->on_link && node->direct)
		return to_neighbour(skb, settings, node, SENT_NODE_LINK);
	return to_node(skb, settings, to, VNI_TO_POD, SENT_NODE);
}

/* A packet of a source node is refused, and its pod is told. */
static __always_inline enum reason tell_node(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					     const struct addr *node, enum reason why, __u32 mtu)
{
	if (!complain(skb, p, why, mtu))
		return why;
	return back_to_node(skb, settings, node) < DROP_MALFORMED ? told(why) : why;
}

/* A packet from the outside is refused, and whoever sent it is told by the neighbour that brought it. */
static __always_inline enum reason tell_outside(struct __sk_buff *skb, const struct packet *p, enum reason why, __u32 mtu)
{
	if (!complain(skb, p, why, mtu) || !turn_frame(skb))
		return why;
	return redirected(bpf_redirect(skb->ifindex, 0), told(why));
}

/* From a source node to the outside. `served_entry` is the source's. */
static __always_inline enum reason forward_out(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					       const struct addr *node, const struct served *served_entry)
{
	bool hairpin = is_served(&p->dst);
	struct way way = {};
	enum reason reason;

	remember(p, FRAGMENT_TO_WIRE, node, p->id, 0);
	if (p->ttl <= 1)
		return tell_node(skb, p, settings, node, DROP_TTL, 0);
	if (!hairpin) {
		reason = find_way(skb, p, &p->src, served_entry->wire, &way);
		if (reason == DROP_TOO_BIG)
			return tell_node(skb, p, settings, node, reason, way.mtu);
		if (reason != GO_ON)
			return reason;
	}
	if (served_entry->node_address)
		remember_carried(p, node);
	if (!age(skb, p))
		return DROP_KERNEL;
	return hairpin ? turn_back(skb, &p->dst) : leave_by(skb, p, served_entry->wire, &way);
}

/* From a source node by the overlay, which says which node it is. */
static __always_inline enum reason forward_overlay(struct __sk_buff *skb, const struct packet *p,
						   const struct settings *settings, const struct addr *node)
{
	const struct served *served_entry = bpf_map_lookup_elem(&served, &p->src);
	struct addr owner;
	enum reason reason;

	if (!served_entry)
		return DROP_NOT_SERVED;
	reason = sender_of(skb, p, served_entry, &owner);
	if (reason != GO_ON)
		return reason;
	if (!same(&owner, node))
		return DROP_NOT_LEASED;
	return forward_out(skb, p, settings, node, served_entry);
}

/* From the outside to an egress address. */
static __always_inline enum reason steer_back(struct __sk_buff *skb, const struct packet *p, const struct settings *settings,
					      const struct served *served_entry)
{
	const struct node *node;
	enum reason reason;
	struct addr to;
	__u32 mtu;

	reason = receiver_of(skb, p, served_entry, &to);
	if (reason != GO_ON)
		return reason;
	if (same(&to, &settings->underlay))
		return to_pod_of_flow(skb, p, settings);
	if (p->ttl <= 1)
		return tell_outside(skb, p, DROP_TTL, 0);
	node = bpf_map_lookup_elem(&nodes, &to);
	if (node && node->on_link && node->direct)
		mtu = too_large_for_link(skb, p, settings);
	else
		mtu = fits(skb, p, settings->overlay_mtu) ? 0 : settings->overlay_mtu;
	if (mtu && p->dont_fragment)
		return tell_outside(skb, p, DROP_TOO_BIG, mtu);
	if (!age(skb, p))
		return DROP_KERNEL;
	/* what the link is too small for, the overlay carries whole */
	return mtu ? to_node(skb, settings, &to, VNI_TO_POD, SENT_NODE) : back_to_node(skb, settings, &to);
}
