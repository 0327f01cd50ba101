/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Datagrams in pieces. The first fragment has ports and is treated like any packet; what was decided about it is
 * kept for as long as a receiver would wait for the others (RFC 791 section 3.2), and holds for them. */
#pragma once
#include "flow.h"

#define REASSEMBLY_SECONDS 30

static __always_inline void fragment_key_of(const struct packet *p, enum fragment_place place, struct fragment_key *key)
{
	memset(key, 0, sizeof(*key));
	key->src = p->src;
	key->dst = p->dst;
	key->id = p->id;
	key->protocol = p->family == 4 ? p->protocol : 0;
	key->place = place;
}

/* What was decided about the first fragment; `id` is the datagram's as it leaves. */
static __noinline void remember_first(const struct packet *p, enum fragment_place place, const struct addr *to, __be32 id,
				      enum reason passed)
{
	struct fragment value = { .id = id, .seen = now_seconds(), .passed = passed };
	struct fragment_key key;

	if (to)
		value.to = *to;
	fragment_key_of(p, place, &key);
	bpf_map_update_elem(&fragments, &key, &value, BPF_ANY);
}

static __always_inline void remember(const struct packet *p, enum fragment_place place, const struct addr *to, __be32 id,
				     enum reason passed)
{
	if (p->piece == FIRST_FRAGMENT)
		remember_first(p, place, to, id, passed);
}

/* The same for a later fragment; NULL if the first has not been seen. */
static __always_inline const struct fragment *recall(const struct packet *p, enum fragment_place place)
{
	const struct fragment *found;
	struct fragment_key key;

	fragment_key_of(p, place, &key);
	found = bpf_map_lookup_elem(&fragments, &key);
	return found && (__s32)(now_seconds() - found->seen) <= REASSEMBLY_SECONDS ? found : NULL;
}

/* Two pods behind one address may number datagrams alike, and a receiver would mix them (RFC 6864 section 5.3.1). IPv6
 * numbers are long and chosen at random. */
static __always_inline __be32 fresh_id(const struct packet *p)
{
	return p->family == 4 && !p->dont_fragment ? bpf_get_prandom_u32() & 0xffff : p->id;
}
