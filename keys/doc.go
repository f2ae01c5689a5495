// Package keys shows etcd's flat key space as a person sees it: level by level, and back in time.
//
// etcd has no folders. Keys such as "shop/web/1" look like paths, and people ask "what is directly below
// shop/?". etcd can only list all keys below it. Level asks for the first key, skips all that begin like it up
// to the next slash, asks for the next one, and so on:
//
//	for child, err := range keys.Level(ctx, cli, "shop/", nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(child.Name, child.Key != nil, child.Below) // web false shop/web/
//	}
//
// etcd keeps old values until it is compacted. ReadHistory finds those of a key, and Undelete brings a deleted
// one back:
//
//	h, err := keys.ReadHistory(ctx, cli, "shop/motd", nil)     // each create, put and delete, the newest first
//	r, err := keys.Undelete(ctx, cli, "shop/motd", nil)        // only if the key does not exist
//
// What is below a prefix can be written to a file and read from one, and copied to another prefix or cluster, with its
// leases, once or for as long as it changes:
//
//	e, err := keys.OpenExport(ctx, cli, "shop/", nil)          // everything at one revision
//	err = e.Write(ctx, file, nil)                              // JSON lines
//	counts, err := keys.Import(ctx, cli, file, nil)            // writes what differs; again, it goes on where it ended
//	counts, err := keys.Copy(ctx, src, "shop/", dst, "shop/", nil)
//	counts, err := keys.Follow(ctx, src, "shop/", dst, "shop/", nil) // until ctx ends
//
// # Guarantees
//
//   - A Level and a Tree are of one revision, also where they take many requests.
//   - A Level costs two requests, and one more for about each folder of more than a hundred keys, with etcd 3.7.
//     Older members count all keys behind what they return: there a folder among a million keys takes a
//     member about 0.2 s.
//   - Nothing but Undelete, Delete, Import, Copy and Follow writes. Undelete never writes over a key.
//   - Everything ends with ctx. Without an answer of etcd's, Level, Tree, Scan, Count and Delete end after 15 s, and a
//     read that can be repeated after three such tries; ReadHistory and Undelete, too, but their search for a deletion
//     after a minute in which no member gets on with it. Export, Import and Copy go on while no member answers, for
//     30 s. Follow goes on without a bound: only ctx ends it, an error that a person must mend, or ErrReplaced.
//   - Import keeps a key that exists and is different, unless it is told to write over it. Copy and Follow write over
//     it.
//
// # Limits
//
// Names, keys and values are what other programs wrote. They can contain anything, terminal escapes too.
package keys
