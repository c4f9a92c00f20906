module github.com/pion/turn/v2

go 1.26.0
