/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A gateway whose own address is used shares the address with its kernel: sockets, and whatever the kernel translates for
 * others. So what comes back is Egret's only if exactly that conversation left by here, and its node is remembered. */
#pragma once
#include "fragment.h"
#include "icmp_error.h"

#define CARRIED_CLOSED 10	/* seconds that the ends of a closed connection may still have to say something */
#define CARRIED_DATAGRAMS 600	/* seconds that an answer to a datagram may take */

/* The conversation of a packet that leaves; false if it has no ports. */
static __always_inline bool leaving_key(const struct packet *p, struct return_key *key)
{
	memset(key, 0, sizeof(*key));
	if (p->kind != KIND_TCP && p->kind != KIND_UDP && p->kind != KIND_ECHO_REQUEST)
		return false;
	key->egress = p->src;
	key->remote = p->dst;
	key->egress_port = p->sport;
	key->remote_port = p->dport;
	key->protocol = p->protocol;
	return true;
}

/* The conversation of a packet that comes, or that an error is about; false if it has none. */
static __always_inline bool returning_key(struct __sk_buff *skb, const struct packet *p, struct return_key *key)
{
	struct packet quoted = {};

	memset(key, 0, sizeof(*key));
	switch (p->kind) {
	case KIND_TCP:
	case KIND_UDP:
	case KIND_ECHO_REPLY:
		key->egress = p->dst;
		key->remote = p->src;
		key->egress_port = p->dport;
		key->remote_port = p->sport;
		key->protocol = p->protocol;
		return true;
	case KIND_ICMP_ERROR:
		if (read_quoted(skb, p, &quoted) != GO_ON || !same(&quoted.src, &p->dst))
			return false;
		key->egress = quoted.src;
		key->remote = quoted.dst;
		key->egress_port = quoted.sport;
		key->remote_port = quoted.dport;
		key->protocol = quoted.protocol;
		return true;
	}
	return false;
}

/* This node lets a packet of another node leave by its own address. */
static __noinline void remember_carried(const struct packet *p, const struct addr *node)
{
	struct carried fresh = { .seen = now_seconds(), .sent = p->tcp_flags };
	struct return_key key;
	struct carried *found;

	if (!leaving_key(p, &key))
		return;
	found = bpf_map_lookup_elem(&carried, &key);
	if (!found || !same(&found->node, node) || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		fresh.node = *node;
		bpf_map_update_elem(&carried, &key, &fresh, BPF_ANY);
		return;
	}
	/* who speaks on after a RST did not mean it: RFC 7857 section 2.2 */
	if (!(p->tcp_flags & TCP_RST))
		found->sent &= ~TCP_RST;
	if ((found->sent | p->tcp_flags) != found->sent)
		found->sent |= p->tcp_flags;
	if (found->seen != fresh.seen)
		found->seen = fresh.seen;
}

/* A RST from outside is no proof that the connection is closed: its pod's node judges it. */
static __always_inline bool still_carried(const struct return_key *key, const struct carried *found)
{
	__s32 idle = now_seconds() - found->seen;

	if (key->protocol != IPPROTO_TCP)
		return idle <= CARRIED_DATAGRAMS;
	return !(found->sent & TCP_RST || found->sent & found->received & TCP_FIN) || idle <= CARRIED_CLOSED;
}

/* Whose is what came to this node's own address, if it is no later fragment? GO_ON when `owner` is the node of the conversation's pod. */
static __noinline enum reason receiver_at_node(struct __sk_buff *skb, const struct packet *p, struct addr *owner)
{
	const struct settings *settings = node_settings();
	struct return_key key;
	struct carried *found;

	if (!settings || !returning_key(skb, p, &key))
		return PASS_NOT_LEASED;
	found = bpf_map_lookup_elem(&carried, &key);
	if (bpf_map_lookup_elem(&returns, &key)) {	/* of a pod of this node */
		*owner = settings->underlay;
		return GO_ON;
	}
	if (!found || !still_carried(&key, found))
		return PASS_NOT_LEASED;
	*owner = found->node;
	if (p->kind == KIND_TCP && (found->received | p->tcp_flags) != found->received)
		found->received |= p->tcp_flags;
	return GO_ON;
}
