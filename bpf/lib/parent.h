/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The parent of macvlan interfaces that pods have in another network: the node's own interface, which whatever they send to
 * others than each other leaves by. Most of what leaves there is none of Egret's business, and is not counted. A pod is known by
 * its link-layer address as well, since it shares the link.
 *
 * As on a link of its own, it does not matter whom the pod takes for its router: the holder of an egress address announces it
 * on that network, too, so that a pod may know the holder for its router instead of its own node. */
#pragma once
#include "second.h"

/* GO_ON: nobody's whom a policy selects. */
static __always_inline enum reason parent_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	const struct ethhdr *eth;
	struct packet p = {};
	const struct pod *pod;
	enum reason reason;

	if (skb->vlan_present)	/* another network's */
		return GO_ON;
	if (skb->protocol == bpf_htons(ETH_P_ARP)) {
		reason = answer_pod(skb);
		return reason == PASS_NOT_IP ? GO_ON : reason;
	}
	if (!settings || read_addresses(skb, &p) != GO_ON)
		return GO_ON;
	pod = selected_here(skb, &p.src);
	eth = bytes(skb, 0, sizeof(*eth));
	if (!pod || !eth)
		return GO_ON;
	if (!sent_by(pod, eth->h_source))
		return DROP_SPOOFED;
	if (eth->h_dest[0] & 1)	/* to many: it stays on that network */
		return GO_ON;
	if (to_overlay_port(skb, &p, settings))
		return DROP_OVERLAY_PORT;
	return selected_pod(skb, &p, settings, pod);
}
