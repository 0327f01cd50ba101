/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What user space and the programs share. The Rust mirror is crates/datapath/src/layout.rs; a test holds both
 * against the object's BTF. Addresses and ports are in network byte order, everything else in host order. */
#pragma once
#include "kernel.h"

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
struct addr {
	union {
		__u8 bytes[16];
		__be32 words[4];
		__u64 halves[2];
	};
};

struct settings {
	__u32 overlay_link;	/* ifindex of the overlay device */
	__u32 underlay_link;	/* ifindex of the interface between nodes */
	__u16 overlay_mtu;	/* largest inner packet, bytes */
	__u8 hold_unknown;	/* drop what an unknown pod sends outside */
	__u8 ready;		/* answer probes: everything is programmed and a wire has a carrier */
	__u8 overlay_mac[6];	/* every node's overlay device has this one */
	__u8 underlay_mac[6];
	__u32 pod_flows;	/* most flows of one pod; 0: no limit */
	__be16 overlay_port;	/* UDP */
	__u8 tell_flows;	/* somebody reads the records of flows */
	__u8 pad;
	struct addr underlay;	/* this node's address between nodes */
	struct addr hop4;	/* this node as a hop: source of its ICMP errors; zero: it has none */
	struct addr hop6;
};

struct network {		/* LPM key */
	__u32 prefix;		/* bits, over the 128 of the address */
	struct addr addr;
} __attribute__((packed, aligned(4)));	/* a hole before the address would count as prefix bits */

struct node {
	__u8 mac[6];
	__u8 on_link;		/* mac is valid: same link as this node */
	__u8 direct;		/* packets to its pods go there without tunnel */
};

struct pod {
	__u64 rules;		/* 0: known, and no policy selects it */
	__u32 link;
	__u8 mac[6];
	__u8 host_mac[6];
	__u8 shared;		/* the link is the parent of the pod's macvlan, and of others */
	__u8 pad[7];
};

struct rule_key {		/* LPM key */
	__u32 prefix;		/* 64 + bits over the 128 of the address */
	__u8 set[8];		/* rule set, big endian */
	struct addr addr;
} __attribute__((packed, aligned(4)));

#define PORT_RULES 16

enum rule_action { RULE_ORDINARY = 0, RULE_EGRESS = 1 };

struct port_rule {
	struct addr egress;
	__u16 first;		/* host order, included */
	__u16 last;
	__u8 protocol;		/* IPPROTO_TCP, IPPROTO_UDP, or 0: any packet, ports do not matter */
	__u8 action;
	__u8 pad[2];
};

struct rule {
	__u32 count;
	__u32 pad;
	struct port_rule ports[PORT_RULES];
};

#define BLOCKS 64

enum egress_path { PATH_NONE = 0, PATH_WIRE = 1, PATH_OVERLAY = 2, PATH_LINK = 3 };

/* Idle times in seconds. */
struct timers {
	__u32 tcp_established;
	__u32 tcp_transitory;
	__u32 tcp_closed;
	__u32 udp;
	__u32 icmp;
};

struct egress {
	struct addr gateway;	/* underlay address, for PATH_OVERLAY and PATH_LINK */
	__u32 link;		/* for PATH_WIRE and PATH_LINK */
	__u8 path;
	__u8 shift;		/* log2 of the ports in a block */
	__u16 block_count;
	__u16 blocks[BLOCKS];	/* first ports, host order */
	struct timers timers;
	__u32 opened;		/* flows, since user space last wrote this entry */
	__u8 share;		/* log2: a pod may use one port of so many towards one remote end */
	__u8 node_address;	/* the gateway's own; read by user space */
	__u8 pad[6];
};

struct served {
	__u32 wire;
	__u8 mac[6];		/* the wire's: what a holder answers */
	__u8 holder;
	__u8 shift;
	__u8 node_address;	/* this node's own: what is no answer to `carried` is the kernel's */
	__u8 pad[3];
};

struct lease_key {
	struct addr egress;
	__u16 block;		/* port >> shift, host order */
	__u16 pad[3];		/* up to the alignment: all of a key's bytes are compared */
};

struct flow_key {
	struct addr pod;
	struct addr remote;
	__be16 pod_port;	/* TCP and UDP port, or ICMP echo id */
	__be16 remote_port;	/* 0 for ICMP */
	__u8 protocol;
	__u8 pad[3];
};

/* Beside the pod's TCP flags: what a sweep wants to know of the other end without looking there. */
#define FLOW_CLOSING 0x40	/* it sent a FIN or RST */
#define FLOW_ANSWERED 0x80	/* it sent a SYN */

struct flow {
	struct addr egress;
	__be16 egress_port;
	__u8 flags;		/* TCP flags that the pod has sent, and FLOW_ANSWERED, FLOW_CLOSING */
	__u8 scale;		/* TCP: the pod's window is counted in units of 2^scale */
	__u32 seen;		/* seconds since boot */
	__u32 expects;		/* TCP: what the pod expects of the other end, host order: see tcp.h */
	__u32 link;		/* of the pod: another pod may get the same address later, but not the same link */
};

struct return_key {
	struct addr egress;
	struct addr remote;
	__be16 egress_port;
	__be16 remote_port;
	__u8 protocol;
	__u8 pad[3];
};

struct return_flow {
	struct addr pod;
	__u32 link;		/* of the pod */
	__u32 seen;
	__be16 pod_port;
	__u8 flags;		/* TCP flags that the remote end has sent */
	__u8 pad;
	__u32 opened;		/* seconds since boot */
};

/* What left by a gateway's own address: for which node. The key is that of what comes back. */
struct carried {
	struct addr node;
	__u32 seen;		/* seconds since boot */
	__u8 sent;		/* TCP flags of what left */
	__u8 received;		/* TCP flags of what came back */
	__u8 pad[2];
};

/* UDP and ICMP echo: a pod's port has one egress port towards everybody (RFC 4787 REQ-1, RFC 5508 REQ-1). */
struct mapping_key {
	struct addr pod;
	struct addr egress;
	__be16 pod_port;
	__u8 protocol;
	__u8 pad[5];
};

struct mapping {
	__be16 egress_port;
	__u8 idle;		/* no flow at the last sweep */
	__u8 pad;
	__u32 flows;
};

/* That port, which no other mapping may have. */
struct owner_key {
	struct addr egress;
	__be16 egress_port;
	__u8 protocol;
	__u8 pad[5];
};

/* Whose the later fragments of a datagram are: only the first has ports. */
enum fragment_place { FRAGMENT_OF_POD, FRAGMENT_TO_WIRE, FRAGMENT_OF_WIRE, FRAGMENT_TO_POD };

struct fragment_key {
	struct addr src;
	struct addr dst;
	__be32 id;
	__u8 protocol;		/* 0 for IPv6: RFC 8200 section 4.5 */
	__u8 place;
	__u8 pad[2];
};

struct fragment {
	struct addr to;		/* egress address, node or pod, as the place needs */
	__be32 id;		/* as it leaves */
	__u32 seen;
	__u32 passed;		/* the verdict, if the first fragment was passed to the kernel */
	__u32 pad;
};

/* How many complaints this processor sent in a second. */
struct budget {
	__u32 second;
	__u32 spent;
};

/* What happened to a flow, or to a packet that got none. */
enum flow_event { FLOW_OPENED, FLOW_CLOSED, FLOW_EXPIRED, FLOW_ORPHANED, FLOW_REFUSED };

/* For user space, in the order in which it happened. */
struct flow_record {
	__u64 at;		/* nanoseconds since boot */
	struct flow_key key;
	struct addr egress;	/* of a refused packet: zero */
	__be16 egress_port;
	__u8 event;
	__u8 reason;		/* of a refused packet: the verdict */
	__u32 link;		/* of the pod */
	__u32 opened;		/* seconds since boot */
	__u32 seen;		/* its last packet, seconds since boot; of refused packets: how many, since last told */
};

/* What is refused alike is told once in a while. */
struct refusal_key {
	struct addr pod;
	struct addr remote;
	__be16 remote_port;
	__u8 protocol;
	__u8 reason;
	__u32 link;
};

struct refusal {
	__u32 told;		/* seconds since boot; 0: never */
	__u32 packets;		/* since then */
};

enum untold { UNTOLD_FLOWS, UNTOLD_REFUSALS, UNTOLD_KINDS };

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* User space walks the flows, and asks the sweep to judge those that may have ended: so many in one run, that no
 * processor is kept from its packets for long. */
#define SUSPECTS 512

struct suspect {
	union {
		struct flow_key flow;
		struct mapping_key mapping;
	};
};

struct sweep {
	__u32 count;		/* suspects */
	__u32 mappings;		/* 1: they are mappings, else flows */
	__u32 expired;		/* flows removed because of their age */
	__u32 orphaned;		/* flows removed because their pod or address is gone */
};

/* Payload of a probe: of a frame on the overlay, ethertype PROBE_ETHERTYPE, or of a datagram on the link. */
struct probe {
	__be32 magic;
	__u8 kind;		/* 1 question, 2 answer; without tunnel: 3 question, 4 answer */
	__u8 ready;		/* in an answer: the gateway can carry packets now */
	__u8 pad[2];
	struct addr target;	/* underlay address of the gateway asked */
	__be64 nonce;
};

#define PROBE_ETHERTYPE 0x88B5	/* IEEE 802 local experimental */
#define PROBE_MAGIC 0x45675062

/* Virtual network identifiers on the overlay: the direction of what is inside. */
#define VNI_TO_WIRE 0x0e6701
#define VNI_TO_POD 0x0e6702
#define VNI_PROBE 0x0e6703
