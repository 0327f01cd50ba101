/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Cutting IPv4 that may be cut (RFC 791 section 3.2). A program cannot make packets, but it can have one copied, and
 * shorten it at either end. So each piece is a copy, which loses its end in leave_as_piece(), and the packet loses from
 * its front what has left. No other packet pays for this. */
#pragma once
#include "rewrite.h"
#include "verdict.h"

#define HEADER 20		/* IPv4 with options is not cut: they would not be the same in all pieces */
#define MOST_CUT 9216		/* bytes of the largest packet that is */
#define PIECES 32
#define MOST_ROOM 0xff8		/* that can be taken away at once */
#define CHUNK 128
#define FRONT 48		/* all headers of a packet that is cut, and more */
#define MORE_FRAGMENTS 0x2000
#define PIECE 0x4567		/* in tc_index: such a copy */

#define PIECE_LINK 0		/* in cb: the wire that it goes to */

struct chunk {
	__u8 bytes[CHUNK];
};

struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct chunk); } chunks SEC(".maps");

static __always_inline bool may_be_cut(const struct __sk_buff *skb, const struct packet *p)
{
	return !p->dont_fragment && !skb->gso_size && p->l4 == L3 + HEADER && skb->len <= MOST_CUT;
}

/* The sum of everything from the transport header on. */
static __noinline __s64 sum_of_rest(struct __sk_buff *skb, __u32 at, struct chunk *chunk)
{
	__s64 sum = 0;

	for (int i = 0; i < MOST_CUT / CHUNK; i++) {
		__u32 length = skb->len - at;

		if (at >= skb->len)
			break;
		if (length < CHUNK)
			memset(chunk, 0, sizeof(*chunk));
		else
			length = CHUNK;
		if (length < 1 || bpf_skb_load_bytes(skb, at, chunk, length))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)chunk, sizeof(*chunk), sum);
		if (sum < 0)
			return -1;
		at += CHUNK;
	}
	return sum;
}

/* A checksum that the device was to finish is finished here, since the device would cover one piece by it. The kernel
 * forgets that anything is to be finished when the place is taken away where that begins (skb_postpull_rcsum). */
static __noinline bool finish_sum(struct __sk_buff *skb, const struct packet *p)
{
	__u32 zero = 0;
	struct chunk *chunk = bpf_map_lookup_elem(&chunks, &zero);
	__u16 field;
	__s64 sum;

	if (p->piece != WHOLE || !unfinished(skb, p, &field))
		return true;
	sum = chunk ? sum_of_rest(skb, p->l4, chunk) : -1;
	if (sum < 0)
		return false;
	field = ~fold(sum);
	if (!field && p->kind == KIND_UDP)
		field = 0xffff;
	return !bpf_skb_store_bytes(skb, checksum_offset(p), &field, sizeof(field), 0) &&
	       !bpf_skb_load_bytes(skb, p->l4, chunk, FRONT) &&
	       !bpf_skb_adjust_room(skb, -FRONT, BPF_ADJ_ROOM_NET, 0) &&
	       !bpf_skb_adjust_room(skb, FRONT, BPF_ADJ_ROOM_NET, 0) &&
	       !bpf_skb_store_bytes(skb, p->l4, chunk, FRONT, 0);
}

static __always_inline bool set_piece(struct __sk_buff *skb, __u32 length, __u32 place)
{
	struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
	__be16 size = bpf_htons(length), at = bpf_htons(place);

	if (!ip)
		return false;
	ip->check = checksum_word(checksum_word(ip->check, ip->tot_len, size), ip->frag_off, at);
	ip->tot_len = size;
	ip->frag_off = at;
	return true;
}

/* Out of a link that carries `mtu` bytes. */
__noinline int leave_in_pieces(struct __sk_buff *skb, const struct packet *p, __u32 link, __u32 mtu)
{
	const struct settings *settings = node_settings();
	struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
	__u32 length, place, room;

	if (!p || !settings || !ip || mtu < HEADER + 8)
		return DROP_KERNEL;
	length = bpf_ntohs(ip->tot_len);
	place = bpf_ntohs(ip->frag_off);
	if (length <= HEADER || L3 + length > skb->len || (place & 0x1fff) * 8 + length > 0xffff)
		return DROP_MALFORMED;
	if ((L3 + length < skb->len && bpf_skb_change_tail(skb, L3 + length, 0)) || !finish_sum(skb, p))
		return DROP_KERNEL;
	room = mtu - HEADER;
	if (room > MOST_ROOM)
		room = MOST_ROOM;
	room &= ~7U;
	skb->mark = 0;	/* of a pod on a macvlan: see finish_pods() */
	for (int i = 0; i < PIECES; i++) {
		if (length <= mtu) {
			if (!set_piece(skb, length, place))
				return DROP_KERNEL;
			skb->tc_index = 0;
			return redirected(bpf_redirect_neigh(link, NULL, 0, 0), SENT_PIECES);
		}
		if (!set_piece(skb, HEADER + room, place | MORE_FRAGMENTS))
			return DROP_KERNEL;
		skb->tc_index = PIECE;
		skb->cb[PIECE_LINK] = link;
		if (bpf_clone_redirect(skb, settings->overlay_link, 0) || bpf_skb_adjust_room(skb, -(__s32)room, BPF_ADJ_ROOM_NET, 0))
			return DROP_KERNEL;
		length -= room;
		place += room / 8;
	}
	return DROP_TOO_BIG;
}

/* A copy: what its header says is all that leaves of it. */
static __always_inline enum reason leave_as_piece(struct __sk_buff *skb)
{
	struct iphdr *ip = bytes(skb, L3, sizeof(*ip));
	__u32 link = skb->cb[PIECE_LINK];

	skb->tc_index = 0;
	if (!ip || bpf_skb_change_tail(skb, L3 + bpf_ntohs(ip->tot_len), 0))
		return DROP_KERNEL;
	return redirected(bpf_redirect_neigh(link, NULL, 0, 0), SENT_PIECES);
}
