/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Every packet ends here: counted under one reason, and turned into what the kernel wants to hear. */
#pragma once
#include "maps.h"

static __always_inline void count(struct __sk_buff *skb, enum reason reason)
{
	__u32 key = reason;
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (counter) {
		counter->packets++;
		counter->bytes += skb->len;
	}
}

/* TC_ACT_UNSPEC lets the next program of the hook have its say. */
static __always_inline int finish(struct __sk_buff *skb, enum reason reason)
{
	count(skb, reason);
	if (reason < SENT_WIRE)
		return TC_ACT_UNSPEC;
	if (reason < DROP_MALFORMED)
		return TC_ACT_REDIRECT;
	return TC_ACT_SHOT;
}

static __always_inline const struct settings *node_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/* A redirect that the kernel took, or why not. */
static __always_inline enum reason redirected(long action, enum reason sent)
{
	return action == TC_ACT_REDIRECT ? sent : DROP_KERNEL;
}
