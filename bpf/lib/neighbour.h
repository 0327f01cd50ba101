/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* ARP (RFC 826) and neighbour discovery (RFC 4861) for the egress addresses that this node holds. They are on no
 * interface, so the kernel does not answer. */
#pragma once
#include "rewrite.h"
#include "verdict.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp_frame {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

/* The entry of an address that this node answers for on this link, or NULL. */
static __always_inline const struct served *held(const struct addr *address, __u32 link)
{
	const struct served *entry = bpf_map_lookup_elem(&served, address);

	return entry && entry->holder && entry->wire == link ? entry : NULL;
}

/* An ARP frame by which somebody asks for an IPv4 address, or NULL. */
static __always_inline struct arp_frame *read_request(struct __sk_buff *skb, struct addr *asker, struct addr *asked)
{
	struct arp_frame *arp = bytes(skb, 0, sizeof(*arp));
	__be32 v4;

	if (!arp || arp->operation != bpf_htons(ARP_REQUEST) || arp->protocol != bpf_htons(ETH_P_IP))
		return NULL;
	memcpy(&v4, arp->sender, 4);
	map_v4(asker, v4);
	memcpy(&v4, arp->target, 4);
	map_v4(asked, v4);
	return arp;
}

/* A request becomes the answer that what it asked for is here, at `mac`. */
static __always_inline enum reason answer_from(struct __sk_buff *skb, struct arp_frame *arp, const __u8 *mac, __u64 direction)
{
	__be32 asked, asker;

	memcpy(&asked, arp->target, 4);
	memcpy(&asker, arp->sender, 4);
	arp->operation = bpf_htons(ARP_REPLY);
	memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	memcpy(arp->target, &asker, 4);
	memcpy(arp->sender_mac, mac, ETH_ALEN);
	memcpy(arp->sender, &asked, 4);
	memcpy(arp->eth.h_dest, arp->eth.h_source, ETH_ALEN);
	memcpy(arp->eth.h_source, mac, ETH_ALEN);
	return redirected(bpf_redirect(skb->ifindex, direction), ANSWERED_ARP);
}

static __always_inline enum reason answer_arp(struct __sk_buff *skb)
{
	const struct served *mine;
	struct addr asker, asked;
	struct arp_frame *arp = read_request(skb, &asker, &asked);

	if (!arp)
		return PASS_NOT_IP;
	/* a node that announces the address is another holder, not somebody who asks (RFC 5227) */
	mine = same(&asker, &asked) ? NULL : held(&asked, skb->ifindex);
	if (!mine)
		return PASS_NOT_IP;
	return answer_from(skb, arp, mine->mac, 0);
}

#define ND_SOLICIT 135
#define ND_ADVERTISE 136
#define ND_OPTION_TARGET_MAC 2
#define ND_SOLICITED 0x40000000
#define ND_OVERRIDE 0x20000000

struct nd {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 flags;
	struct addr target;
	__u8 option;
	__u8 option_length;	/* in units of 8 bytes */
	__u8 mac[ETH_ALEN];
} __attribute__((packed));

struct nd_frame {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd nd;
} __attribute__((packed));

static __always_inline __u16 nd_checksum(const struct nd_frame *frame)
{
	struct {
		struct in6_addr src, dst;
		__be32 length, next;
		struct nd nd;
	} __attribute__((packed)) covered = {
		.src = frame->ip.saddr, .dst = frame->ip.daddr,
		.length = bpf_htonl(sizeof(struct nd)), .next = bpf_htonl(IPPROTO_ICMPV6), .nd = frame->nd,
	};

	covered.nd.checksum = 0;
	return ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&covered, sizeof(covered), 0));
}

static __always_inline bool unspecified(const struct addr *addr)
{
	return !addr->halves[0] && !addr->halves[1];
}

static __always_inline enum reason answer_nd(struct __sk_buff *skb, const struct packet *p)
{
	struct nd *nd = bytes(skb, L3 + sizeof(struct ipv6hdr), offsetof(struct nd, option));
	const struct served *mine;
	struct nd_frame *frame;
	struct addr target;
	struct nd *answer;

	/* 255: nobody off the link can send it (RFC 4861 section 7.1.1) */
	if (!nd || nd->type != ND_SOLICIT || p->ttl != 255)
		return GO_ON;
	memcpy(&target, &nd->target, 16);
	mine = held(&target, skb->ifindex);
	if (!mine)
		return GO_ON;
	if (bpf_skb_change_tail(skb, sizeof(*frame), 0))
		return DROP_KERNEL;
	frame = bytes(skb, 0, sizeof(*frame));
	if (!frame)
		return DROP_KERNEL;
	answer = &frame->nd;
	answer->type = ND_ADVERTISE;
	answer->code = 0;
	answer->flags = bpf_htonl(ND_SOLICITED | ND_OVERRIDE);
	memcpy(&frame->ip.daddr, &p->src, 16);
	if (unspecified(&p->src)) {	/* duplicate address detection: tell everyone (RFC 4861 section 7.2.4) */
		answer->flags = bpf_htonl(ND_OVERRIDE);
		memset(&frame->ip.daddr, 0, 16);
		frame->ip.daddr.in6_u.u6_addr8[0] = 0xff;
		frame->ip.daddr.in6_u.u6_addr8[1] = 0x02;
		frame->ip.daddr.in6_u.u6_addr8[15] = 0x01;
	}
	memcpy(&frame->ip.saddr, &target, 16);
	frame->ip.payload_len = bpf_htons(sizeof(*answer));
	answer->option = ND_OPTION_TARGET_MAC;
	answer->option_length = 1;
	memcpy(answer->mac, mine->mac, ETH_ALEN);
	answer->checksum = nd_checksum(frame);
	memcpy(frame->eth.h_dest, frame->eth.h_source, ETH_ALEN);
	memcpy(frame->eth.h_source, mine->mac, ETH_ALEN);
	return redirected(bpf_redirect(skb->ifindex, 0), ANSWERED_NDP);
}
