/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Where a TCP connection stands, as far as its end must be told from a forgery (RFC 5961, RFC 7857 section 2.2). A flow
 * remembers what the pod expects: until its first ACK the acknowledgment of its SYN, then the next byte. */
#pragma once
#include "packet.h"

#define TCP_OPTIONS 10
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_SCALE 3
#define MOST_SCALE 14		/* RFC 7323 section 2.3 */

/* Offset of a SYN's option; 0 if it has none of this kind and length. */
static __always_inline __u32 tcp_option(struct __sk_buff *skb, const struct packet *p, __u8 kind, __u8 length)
{
	__u32 at = p->l4 + sizeof(struct tcphdr), end = p->l4 + p->header;
	__u8 option[2];

	for (int i = 0; i < TCP_OPTIONS; i++) {
		if (at + 2 > end || bpf_skb_load_bytes(skb, at, option, 2) || option[0] == OPTION_END)
			return 0;
		if (option[0] == OPTION_NOP) {
			at++;
			continue;
		}
		if (option[0] == kind && option[1] == length)
			return at;
		if (option[1] < 2)
			return 0;
		at += option[1];
	}
	return 0;
}

/* The shift of the window that a SYN offers. */
static __always_inline __u8 window_scale(struct __sk_buff *skb, const struct packet *p)
{
	__u32 at = tcp_option(skb, p, OPTION_SCALE, 3);
	__u8 scale = 0;

	if (at && bpf_skb_load_bytes(skb, at + 2, &scale, 1))
		return 0;
	return scale > MOST_SCALE ? MOST_SCALE : scale;
}

/* Bytes of data in a segment. A link may have padded the frame, so the IP header tells. */
static __always_inline __u32 data_length(struct __sk_buff *skb, const struct packet *p)
{
	__u32 headers = p->l4 - L3 + p->header, length;
	__be16 field;

	if (bpf_skb_load_bytes(skb, p->family == 4 ? L3 + 2 : L3 + 4, &field, sizeof(field)))
		return 0;
	length = bpf_ntohs(field) + (p->family == 4 ? 0 : (__u32)sizeof(struct ipv6hdr));
	return length > headers ? length - headers : 0;
}

/* The pod opens: nothing was acknowledged yet. Who refuses a SYN acknowledges what it carries, too (RFC 7413). */
static __always_inline void expect_answer(struct __sk_buff *skb, const struct packet *p, struct flow *flow)
{
	flow->flags = p->tcp_flags;
	flow->expects = p->seq + 1 + data_length(skb, p);
	flow->scale = window_scale(skb, p);
}

/* The pod acknowledges. What it has acknowledged once stays so. */
static __always_inline void expect_more(const struct packet *p, struct flow *flow)
{
	if (!(p->tcp_flags & TCP_ACK))
		return;
	if (!(flow->flags & TCP_ACK) || (__s32)(p->ack - flow->expects) > 0)
		flow->expects = p->ack;
}

/* Would the pod's end take this RST or FIN of the remote end? */
static __always_inline bool in_window(const struct packet *p, const struct flow *flow)
{
	if (!(flow->flags & TCP_ACK))
		return (p->tcp_flags & TCP_ACK) && p->ack == flow->expects;
	return p->seq - flow->expects < (__u32)0xffff << (flow->scale & 0xf);
}
