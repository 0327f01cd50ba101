/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The closed list of verdicts. Each packet that a program sees ends in exactly one of them, and is counted there.
 * crates/datapath takes names and meanings from here when it is built: one enumerator a line, and its comment. */
#pragma once

enum reason {
	/* passed to the kernel, untouched */
	PASS_NOT_IP,		/* no IPv4 or IPv6, or a link-local helper (ARP, NDP) that is not ours to answer */
	PASS_UNSELECTED,	/* from a known pod that no policy selects */
	PASS_INSIDE,		/* to a destination inside the cluster */
	PASS_ORDINARY,		/* from a selected pod, to a destination that its rules leave alone */
	PASS_REPLY,		/* answer of a selected pod to a connection from outside */
	PASS_UNKNOWN_POD,	/* from an unknown pod, where the node is set to pass */
	PASS_NOT_EGRESS,	/* on the wire or underlay: neither from nor to an egress address */
	PASS_NOT_LEASED,	/* to an egress address and the kernel's: nobody leases the port, or it is the node's own address */
	/* sent on */
	SENT_WIRE,		/* out of a wire with an egress address as the source */
	SENT_PIECES,		/* out of a wire that is too small for it: cut, as its sender allows */
	SENT_OVERLAY,		/* to a gateway, by the overlay */
	SENT_LINK,		/* to a gateway on the same link, without tunnel */
	SENT_NODE,		/* from the wire back to the source node, by the overlay */
	SENT_NODE_LINK,		/* from the wire back to the source node on the same link, without tunnel */
	SENT_POD,		/* onto the pod's link */
	ANSWERED_ARP,		/* for an egress address that this node holds, or that is the router of a pod of its in another network */
	ANSWERED_NDP,		/* for an egress address that this node holds */
	ANSWERED_PROBE,		/* a node asked whether this gateway is alive, or reached without tunnel */
	SENT_PROBE,		/* this node asked a gateway */
	SENT_HAIRPIN,		/* to an egress address that this gateway serves: back in by its wire */
	SENT_AGENT,		/* a gateway's answer that came without tunnel, to this node's agent */
	/* dropped, and the sender is told (ICMP) */
	TOLD_TTL,		/* time to live used up */
	TOLD_TOO_BIG,		/* larger than the next link carries; told how much it carries */
	TOLD_NO_PORT,		/* every port that the pod may use towards this remote end is in use */
	TOLD_PROTOCOL,		/* a protocol without ports cannot share an address */
	/* dropped */
	DROP_MALFORMED,		/* a header is cut short or contradicts itself */
	DROP_UNKNOWN_POD,	/* to the outside, from a source that this link or node does not know */
	DROP_SPOOFED,		/* the source belongs to another link, or to another pod on it */
	DROP_NO_FLOW,		/* TCP without SYN, and no flow: nothing to continue */
	DROP_OUT_OF_WINDOW,	/* a RST that the pod's end of the connection would not take */
	DROP_PROTOCOL,		/* a protocol without ports, and the sender cannot be told */
	DROP_FRAGMENT,		/* a later fragment of a datagram whose first has not been seen */
	DROP_NO_GATEWAY,	/* every gateway of the address is dead */
	DROP_NO_BLOCK,		/* this node has no block of the address */
	DROP_NO_PORT,		/* every port is in use, and the sender cannot be told */
	DROP_FLOWS_FULL,	/* the flow table is full; what lives is not evicted */
	DROP_POD_FLOWS,		/* the pod has its half of the flow table: its neighbours need room, too */
	DROP_TTL,		/* time to live used up, and the sender cannot be told */
	DROP_TOO_BIG,		/* larger than the next link carries, and the sender cannot be told */
	DROP_NO_ROUTE,		/* the gateway's wire has no route to the destination */
	DROP_OVERLAY_PORT,	/* from a pod to the overlay's port of a node, where only nodes send */
	DROP_FOREIGN_OUTER,	/* on the overlay, from no node of this cluster, or to another address than nodes send to */
	DROP_FOREIGN_INNER,	/* on the overlay, something that Egret does not send */
	DROP_NOT_SERVED,	/* this node is no gateway of the source address */
	DROP_NOT_LEASED,	/* the sending node does not lease the source port */
	DROP_NO_RETURN,		/* to a leased port, but no flow of this node has it towards this remote end */
	DROP_POD_GONE,		/* the flow's pod is gone */
	DROP_EGRESS_GONE,	/* a rule names an egress address that this node does not have */
	DROP_ICMP_UNMATCHED,	/* an ICMP error about no flow of ours */
	DROP_KERNEL,		/* the kernel refused the change or the redirect */
	REASONS,
	GO_ON = REASONS,	/* no verdict: the next question decides */
};
