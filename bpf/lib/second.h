/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A pod's link into another network than the cluster's. What the pod has with its neighbours there is nobody else's business;
 * what it sends off that network from an address that a policy selects leaves by the egress address, whomever the pod takes
 * for its router. It may take the egress address itself: the host's end of the link answers for it. */
#pragma once
#include "neighbour.h"
#include "outbound.h"

/* The pod that a policy selects by its address on this link, or NULL. */
static __always_inline const struct pod *selected_here(struct __sk_buff *skb, const struct addr *source)
{
	const struct pod *pod = bpf_map_lookup_elem(&pods, source);

	return pod && pod->link == skb->ifindex && pod->rules ? pod : NULL;
}

/* On a link of its own, everything is the pod's. */
static __always_inline bool sent_by(const struct pod *pod, const __u8 *sender)
{
	return !pod->shared || !__builtin_memcmp(sender, pod->mac, ETH_ALEN);
}

static __noinline enum reason answer_pod(struct __sk_buff *skb)
{
	struct addr asker, asked;
	struct arp_frame *arp = read_request(skb, &asker, &asked);
	const struct pod *pod;
	__u8 mac[ETH_ALEN];

	if (!arp)
		return PASS_NOT_IP;
	pod = selected_here(skb, &asker);
	if (!pod || !sent_by(pod, arp->eth.h_source) || !bpf_map_lookup_elem(&egress, &asked))
		return PASS_NOT_IP;
	memcpy(mac, pod->host_mac, ETH_ALEN);
	return answer_from(skb, arp, mac, towards(pod));
}

static __always_inline enum reason second_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	const struct ethhdr *eth;
	struct packet p = {};
	const struct pod *pod;

	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return answer_pod(skb);
	if (!settings || read_addresses(skb, &p) != GO_ON)
		return PASS_NOT_IP;
	if (to_overlay_port(skb, &p, settings))
		return tell_if_refused(skb, &p, DROP_OVERLAY_PORT);
	eth = bytes(skb, 0, sizeof(*eth));
	if (!eth || eth->h_dest[0] & 1)	/* to many: it stays on the link */
		return PASS_NOT_IP;
	pod = bpf_map_lookup_elem(&pods, &p.src);
	if (pod && pod->link != skb->ifindex)
		return tell_if_refused(skb, &p, stranger(&p, settings, DROP_SPOOFED));
	if (!pod || !pod->rules)
		return PASS_UNSELECTED;
	return tell_if_refused(skb, &p, selected_pod(skb, &p, settings, pod));
}
