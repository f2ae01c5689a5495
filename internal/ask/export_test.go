package ask

const (
	WhileGRPCTries = whileGRPCTries
	Spread         = spread
)

var (
	EndWith  = endWith
	Distance = distance
)
