package ask

var EndWith = endWith
