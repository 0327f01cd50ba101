/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Between nodes: through the overlay device, which encapsulates by the metadata set here, or straight to a
 * neighbour on the same link. */
#pragma once
#include "rewrite.h"
#include "size.h"
#include "verdict.h"

#define OVERLAY_TTL 64

static __always_inline bool set_tunnel(struct __sk_buff *skb, const struct addr *node, __u32 vni)
{
	struct bpf_tunnel_key key = { .tunnel_id = vni, .tunnel_ttl = OVERLAY_TTL };

	if (is_v4(node)) {
		key.remote_ipv4 = bpf_ntohl(node->words[3]);
		return !bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX);
	}
	memcpy(key.remote_ipv6, node, sizeof(key.remote_ipv6));
	return !bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6);
}

/* Which node sent this, and what for. False: nobody did. What came to another address than nodes send to is of no node. */
static __always_inline bool get_tunnel(struct __sk_buff *skb, const struct settings *settings, struct addr *node, __u32 *vni)
{
	struct bpf_tunnel_key key = {};
	bool here;

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0)) {
		map_v4(node, bpf_htonl(key.remote_ipv4));
		here = is_v4(&settings->underlay) && key.local_ipv4 == bpf_ntohl(settings->underlay.words[3]);
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6)) {
		memcpy(node, key.remote_ipv6, sizeof(*node));
		here = true;
		for (int i = 0; i < 4; i++)	/* the key is not aligned to what same() compares */
			here &= key.local_ipv6[i] == settings->underlay.words[i];
	} else {
		return false;
	}
	if (!here)
		memset(node, 0, sizeof(*node));
	*vni = key.tunnel_id;
	return true;
}

/* To the device that has the same address on every node. Not from it: a frame from a device's own address is a loop
 * to the kernel. */
static __always_inline bool overlay_macs(struct __sk_buff *skb, const struct settings *settings)
{
	return set_macs(skb, settings->overlay_mac, settings->underlay_mac);
}

static __always_inline enum reason to_node(struct __sk_buff *skb, const struct settings *settings,
					   const struct addr *node, __u32 vni, enum reason sent)
{
	if (!overlay_macs(skb, settings) || !set_tunnel(skb, node, vni))
		return DROP_KERNEL;
	return redirected(bpf_redirect(settings->overlay_link, 0), sent);
}

/* To a node on the same link: its address there is part of the plan, so that either family needs no neighbour. */
static __always_inline enum reason to_neighbour(struct __sk_buff *skb, const struct settings *settings,
						const struct node *node, enum reason sent)
{
	if (!set_macs(skb, node->mac, settings->underlay_mac))
		return DROP_KERNEL;
	return redirected(bpf_redirect(settings->underlay_link, 0), sent);
}
