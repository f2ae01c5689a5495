package ask

import "reflect"

// Shared returns the T of a client, which the first call makes: what one package shares between all that
// it does with that client. It is kept until the client is closed.
func Shared[T any](c *Client, make func() *T) *T {
	key := reflect.TypeFor[T]()
	if v, ok := c.values.Load(key); ok {
		return v.(*T)
	}
	v, _ := c.values.LoadOrStore(key, make())
	return v.(*T)
}
