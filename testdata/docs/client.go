package docs

var password string
