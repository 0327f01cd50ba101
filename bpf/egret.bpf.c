// SPDX-License-Identifier: GPL-2.0 OR MIT
/* The programs, one for each place where packets are met. Each asks its questions in the headers below lib/ and
 * ends in one counted reason (lib/reason.h). */
#include "lib/gateway.h"
#include "lib/inbound.h"
#include "lib/neighbour.h"
#include "lib/outbound.h"
#include "lib/parent.h"
#include "lib/probe.h"
#include "lib/sweep.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* tc ingress of the host's end of a pod's link: what the pod sends */
SEC("classifier")
int from_pod(struct __sk_buff *skb)
{
	return finish(skb, pod_packet(skb));
}

/* tc egress of the same link: what the kernel brings to the pod by the ordinary way; passed always */
SEC("classifier")
int to_pod(struct __sk_buff *skb)
{
	note_inbound(skb);
	return TC_ACT_UNSPEC;
}

/* tc ingress of the host's end of a pod's link into another network than the cluster's */
SEC("classifier")
int from_second(struct __sk_buff *skb)
{
	return finish(skb, second_packet(skb));
}

/* A veth takes the pod's mark away. A macvlan leaves it, and the node would route by it. */
static __always_inline int finish_pods(struct __sk_buff *skb, enum reason reason)
{
	if (reason >= SENT_WIRE && reason != GO_ON)
		skb->mark = 0;
	return reason == GO_ON ? TC_ACT_UNSPEC : finish(skb, reason);
}

/* tc egress of the parent of pods' macvlan interfaces in another network */
SEC("classifier")
int from_parent(struct __sk_buff *skb)
{
	return finish_pods(skb, parent_packet(skb));
}

static __always_inline enum reason overlay_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	struct packet p = {};
	struct addr node;
	enum reason reason;
	__u32 vni;

	if (!settings)
		return DROP_FOREIGN_OUTER;
	if (!get_tunnel(skb, settings, &node, &vni))	/* brought here by hear_link_answer */
		return skb->protocol == bpf_htons(PROBE_ETHERTYPE) && read_probe(skb, LINK_PROBE_ANSWER) ?
		       PASS_NOT_IP : DROP_FOREIGN_OUTER;
	if (!bpf_map_lookup_elem(&nodes, &node))
		return DROP_FOREIGN_OUTER;
	if (vni == VNI_PROBE)
		return answer_probe(skb, settings, &node);
	reason = read_addresses(skb, &p);
	if (reason == GO_ON)
		reason = read_ports(skb, &p);
	if (reason != GO_ON)
		return reason == PASS_NOT_IP ? DROP_FOREIGN_INNER : reason;
	switch (vni) {
	case VNI_TO_WIRE:
		return forward_overlay(skb, &p, settings, &node);
	case VNI_TO_POD:
		return to_pod_of_flow(skb, &p, settings);
	}
	return DROP_FOREIGN_INNER;
}

/* tc ingress of the overlay device: from another node, decapsulated */
SEC("classifier")
int from_overlay(struct __sk_buff *skb)
{
	return finish(skb, overlay_packet(skb));
}

static __always_inline int leave_by_overlay(struct __sk_buff *skb)
{
	enum reason reason;

	if (skb->tc_index == PIECE) {
		reason = leave_as_piece(skb);
		if (reason == SENT_PIECES)	/* the packet is counted, not each of its pieces */
			return TC_ACT_REDIRECT;
		return finish(skb, reason);
	}
	if (skb->protocol != bpf_htons(PROBE_ETHERTYPE))
		return TC_ACT_UNSPEC;
	reason = send_probe(skb);
	if (reason == GO_ON)
		return TC_ACT_UNSPEC;
	count(skb, reason);
	return reason == SENT_PROBE ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* tc egress of the overlay device: the agent's probes need a direction, pieces pass by on their way to a wire, and the
 * rest has one */
SEC("classifier")
int to_overlay(struct __sk_buff *skb)
{
	return leave_by_overlay(skb);
}

static __always_inline enum reason wire_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	const struct served *served_entry;
	struct packet p = {};
	struct ethhdr *eth;
	enum reason reason;

	if (!settings)
		return PASS_NOT_EGRESS;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return answer_arp(skb);
	reason = read_addresses(skb, &p);
	if (reason != GO_ON)
		return reason == DROP_MALFORMED ? PASS_NOT_EGRESS : reason;
	if (p.protocol == IPPROTO_ICMPV6 && p.family == 6) {
		reason = answer_nd(skb, &p);
		if (reason != GO_ON)
			return reason;
	}
	served_entry = bpf_map_lookup_elem(&served, &p.dst);
	if (!served_entry)
		return PASS_NOT_EGRESS;
	/* a switch that has forgotten an address shows its frames to everybody */
	eth = linear(skb, 0, sizeof(*eth));
	if (!eth || __builtin_memcmp(eth->h_dest, served_entry->mac, ETH_ALEN))
		return PASS_NOT_EGRESS;
	reason = read_ports(skb, &p);
	if (reason != GO_ON)
		return served_entry->node_address ? PASS_NOT_LEASED : reason;
	return steer_back(skb, &p, settings, served_entry);
}

/* tc ingress of a wire: from the outside */
SEC("classifier")
int from_wire(struct __sk_buff *skb)
{
	return finish(skb, wire_packet(skb));
}

/* Without tunnel the sender is known by its link-layer address, as it is by the outer address with one. */
static __always_inline bool came_from(struct __sk_buff *skb, const struct addr *sender)
{
	const struct node *node = bpf_map_lookup_elem(&nodes, sender);
	const struct ethhdr *eth = bytes(skb, 0, sizeof(*eth));

	return eth && node && node->on_link && !__builtin_memcmp(eth->h_source, node->mac, ETH_ALEN);
}

static __always_inline enum reason underlay_packet(struct __sk_buff *skb)
{
	const struct settings *settings = node_settings();
	const struct served *served_entry;
	struct packet p = {};
	struct addr sender;
	struct ethhdr *eth;
	enum reason reason;

	if (!settings || read_addresses(skb, &p) != GO_ON)
		return PASS_NOT_EGRESS;
	/* a switch that has forgotten an address shows its frames to everybody */
	eth = linear(skb, 0, sizeof(*eth));
	if (!eth || __builtin_memcmp(eth->h_dest, settings->underlay_mac, ETH_ALEN))
		return PASS_NOT_EGRESS;
	served_entry = bpf_map_lookup_elem(&served, &p.src);
	if (served_entry) {
		if (read_ports(skb, &p) != GO_ON)
			return DROP_MALFORMED;
		reason = sender_of(skb, &p, served_entry, &sender);
		if (reason == GO_ON && !came_from(skb, &sender))
			reason = DROP_FOREIGN_OUTER;
		if (reason == GO_ON)
			return asks_about_link(&p) ? answer_link_probe(skb, &p, settings) :
						     forward_out(skb, &p, settings, &sender, served_entry);
		/* another gateway may have turned it back, to a pod of this node */
		if (!bpf_map_lookup_elem(&egress, &p.dst))
			return reason;
	} else {
		if (!bpf_map_lookup_elem(&egress, &p.dst))
			return PASS_NOT_EGRESS;
		if (read_ports(skb, &p) != GO_ON) {
			served_entry = bpf_map_lookup_elem(&served, &p.dst);
			return served_entry && served_entry->node_address ? PASS_NOT_LEASED : DROP_MALFORMED;
		}
	}
	/* at a gateway that has its only wire here, it may be anybody's */
	served_entry = bpf_map_lookup_elem(&served, &p.dst);
	if (served_entry)
		return steer_back(skb, &p, settings, served_entry);
	return to_pod_of_flow(skb, &p, settings);
}

/* tc ingress of the underlay interface, where nodes on one link steer without tunnel */
SEC("classifier")
int from_underlay(struct __sk_buff *skb)
{
	return finish(skb, underlay_packet(skb));
}

/* attached nowhere: run by the agent */
SEC("classifier")
int sweep(struct __sk_buff *skb)
{
	sweep_suspects();
	return TC_ACT_OK;
}
